package ingress

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// A script is what the broker says to one attempt after another. The last line
// is repeated.
type script struct {
	lines    []line
	attempts int
}

type line struct {
	receipt stream.Receipt
	err     error
	silent  bool // no answer until the attempt is given up
}

func (s *script) Ask(string) (*stream.Question, error) { return nil, stream.ErrUnavailable }

func (s *script) StoreAsking(ctx context.Context, _ *event.Event, _ *stream.Question) (stream.Receipt, error) {
	l := s.lines[min(s.attempts, len(s.lines)-1)]
	s.attempts++
	if l.silent {
		<-ctx.Done()
		return stream.Receipt{}, stream.ErrUnavailable
	}
	return l.receipt, l.err
}

// These are the answers that a healthy broker does not give at will; the real
// one is asked in the other tests.
func TestPublish(t *testing.T) {
	const budget = 5 * time.Second
	stored, again := line{receipt: stream.Receipt{Seq: 7}}, line{receipt: stream.Receipt{Seq: 7, Duplicate: true}}
	gone, busy := line{err: stream.ErrUnavailable}, line{err: stream.ErrInFlight}
	for name, test := range map[string]struct {
		lines     []line
		want      outcome
		duplicate bool
		retry     string
		atLeast   int           // attempts
		within    time.Duration // at most
	}{
		"at once":                     {lines: []line{stored}, atLeast: 1},
		"a duplicate":                 {lines: []line{again}, duplicate: true, atLeast: 1},
		"after an election":           {lines: []line{gone, gone, gone, stored}, atLeast: 4, within: time.Second},
		"stored by an attempt before": {lines: []line{gone, again}, atLeast: 2, within: time.Second},
		"stored by another request":   {lines: []line{busy, again}, duplicate: true, atLeast: 2, within: time.Second},
		"leader that died":            {lines: []line{{silent: true}, stored}, atLeast: 2, within: 3 * time.Second},
		"nobody there":                {lines: []line{gone}, want: storeUnavailable, retry: retryLater, atLeast: 10, within: budget},
		"never done":                  {lines: []line{busy}, want: storeUnavailable, retry: retryLater, atLeast: 10, within: budget},
		"silence":                     {lines: []line{{silent: true}}, want: storeUnavailable, retry: retryLater, atLeast: 3, within: budget},
		"full":                        {lines: []line{{err: stream.ErrFull}}, want: storeFull, retry: retryMuchLater, atLeast: 1},
		"too large for the broker":    {lines: []line{{err: stream.ErrTooLarge}}, want: tooLarge, atLeast: 1},
		"anything else":               {lines: []line{{err: errors.New("no")}}, want: storeUnavailable, retry: retryLater, atLeast: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker := &script{lines: test.lines}
				start := time.Now()
				hungUp, cancel := context.WithCancel(t.Context())
				cancel() // the sender does not wait; what it sent is stored all the same
				receipt, err := publish(hungUp, broker, &event.Event{}, nil, start.Add(budget))
				if took := time.Since(start); took > test.within || broker.attempts < test.atLeast {
					t.Errorf("%d attempts in %s", broker.attempts, took)
				}
				if test.want == "" {
					if err != nil || receipt.Seq != 7 || receipt.Duplicate != test.duplicate {
						t.Errorf("receipt %+v, %v", receipt, err)
					}
					return
				}
				r := asRefusal(err)
				if err == nil || r.outcome != test.want || r.retryAfter != test.retry {
					t.Errorf("error %v, want %s and Retry-After %q", err, test.want, test.retry)
				}
			})
		})
	}
}

func TestHeaderText(t *testing.T) {
	for id, want := range map[string]string{"evt_1": "evt_1", "a/b": "a/b", "a\r\nX: y": "a%0D%0AX:%20y", "ü": "%C3%BC"} {
		if got := headerText(id); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}
