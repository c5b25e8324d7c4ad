package service_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/belay-hooks/belay/pkg/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A journal is what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) expect(t *testing.T, want ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.lines, want) {
		t.Errorf("got  %q\nwant %q", j.lines, want)
	}
}

// drains runs until it is stopped, and takes this long to stop.
func (j *journal) drains(name string, takes time.Duration) service.Component {
	return service.Func(func(ctx context.Context) error {
		<-ctx.Done()
		j.add(name + " told")
		<-time.After(takes)
		j.add(name + " done")
		return nil
	})
}

func TestGroupStopsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := service.Group{Delay: 5 * time.Second, Unready: func() { j.add("unready") }}
		g.Add("outbox", j.drains("outbox", time.Second))
		g.Add("worker", j.drains("worker", 10*time.Second))
		g.Add("ingress", j.drains("ingress", time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := g.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != time.Minute+17*time.Second {
			t.Errorf("it took %v, want the run, the delay and three stops one after another", took)
		}
		j.expect(t, "unready", "ingress told", "ingress done", "worker told", "worker done", "outbox told", "outbox done")
	})
}

func TestGroupFailure(t *testing.T) {
	broken := errors.New("the disk is gone")
	for _, test := range []struct {
		name   string
		err    error
		before time.Duration // of the context's end
		want   string
	}{
		{"one fails", broken, time.Hour, "worker: the disk is gone"},
		{"one ends by itself", nil, time.Hour, "worker: ended by itself, want it to run until it is stopped"},
		{"one fails in the delay", broken, -time.Second, "worker: the disk is gone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				g := service.Group{Delay: time.Minute, Unready: func() { j.add("unready") }}
				g.Add("outbox", j.drains("outbox", 0))
				g.Add("worker", service.Func(func(context.Context) error {
					<-time.After(2 * time.Hour)
					return test.err
				}))
				g.Add("ingress", j.drains("ingress", 0))
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour+test.before)
				defer cancel()
				err := g.Run(ctx)
				if err == nil || err.Error() != test.want {
					t.Errorf("got %v, want %s", err, test.want)
				}
				if test.err != nil && !errors.Is(err, test.err) {
					t.Errorf("%v hides its cause", err)
				}
				j.expect(t, "unready", "ingress told", "ingress done", "outbox told", "outbox done")
			})
		})
	}
}

func TestGroupGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := service.Group{Grace: 3 * time.Second}
		g.Add("outbox", j.drains("outbox", 0))
		g.Add("worker", j.drains("worker", time.Hour))
		g.Add("ingress", j.drains("ingress", time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		err := g.Run(ctx)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v, want the grace", took)
		}
		if !errors.Is(err, service.ErrGrace) || !strings.Contains(err.Error(), "worker: still running") || strings.Contains(err.Error(), "ingress") {
			t.Errorf("got %v", err)
		}
		<-time.After(time.Hour) // what was left behind ends too
	})
}

func TestGroupOfNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var g service.Group
	if err := g.Run(ctx); err != nil {
		t.Error(err)
	}
}
