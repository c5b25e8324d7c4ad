package outbox

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestLead(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, tc := range []struct {
		name  string
		due   func(began time.Time) (uint64, error)
		n     int
		waits time.Duration
		err   error
	}{
		{"nothing is due", func(time.Time) (uint64, error) { return 0, nil }, 5000, 0, nil},
		{"few enough", func(time.Time) (uint64, error) { return maxLead - 1, nil }, 1, 0, nil},
		{"they are being sent", func(began time.Time) (uint64, error) {
			return 2*maxLead - uint64(time.Since(began)/time.Millisecond), nil
		}, 1, (maxLead + 1) * time.Millisecond, nil},
		{"nobody sends them", func(time.Time) (uint64, error) { return 2 * maxLead, nil }, 1, leadStands, nil},
		{"it is not known", func(time.Time) (uint64, error) { return 0, broken }, 1, 0, broken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				l := &lead{due: func(context.Context) (uint64, error) { return tc.due(began) }}
				if err := l.wait(t.Context(), tc.n); !errors.Is(err, tc.err) {
					t.Errorf("got %v, want %v", err, tc.err)
				}
				if waited := time.Since(began); waited < tc.waits || waited > tc.waits+2*leadLooks {
					t.Errorf("waited %v, want %v", waited, tc.waits)
				}
			})
		})
	}
}

func TestLeadIsCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	l := &lead{due: func(context.Context) (uint64, error) {
		cancel()
		return 2 * maxLead, nil
	}}
	if err := l.wait(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Between two looks so many are written as one allows.
func TestLeadLooksNowAndThen(t *testing.T) {
	t.Parallel()
	looks := 0
	l := &lead{due: func(context.Context) (uint64, error) { looks++; return 0, nil }}
	for range 2 * leadStep {
		if err := l.wait(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if looks < 2 || looks > 3 {
		t.Errorf("looked %d times", looks)
	}
}
