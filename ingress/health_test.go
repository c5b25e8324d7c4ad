package ingress

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

func TestHealth(t *testing.T) {
	good, full, gone, busy := &line{}, &line{err: stream.ErrFull}, &line{err: stream.ErrUnavailable}, &line{err: stream.ErrInFlight}
	every := func(interval, long time.Duration, l *line) []step { // until long after the start
		var steps []step
		for at := time.Duration(0); at < long; at += interval {
			steps = append(steps, step{interval, l})
		}
		return steps
	}
	for name, test := range map[string]struct {
		steps []step
		want  error // nil: ready
	}{
		"nothing came yet":             {},
		"all is stored":                {every(time.Second, time.Minute, good), nil},
		"an election":                  {every(100*time.Millisecond, 9*time.Second, gone), nil},
		"gone":                         {every(100*time.Millisecond, 11*time.Second, gone), stream.ErrUnavailable},
		"full":                         {every(time.Second, 12*time.Second, full), stream.ErrFull},
		"first gone, then full":        {append(every(time.Second, 9*time.Second, gone), step{2 * time.Second, full}), stream.ErrFull},
		"one shard of several is gone": {append(every(time.Second, 20*time.Second, gone), step{0, good}), nil},
		"back":                         {append(every(time.Second, 20*time.Second, full), step{time.Second, good}), nil},
		"back, and gone again":         {append(every(time.Second, 20*time.Second, full), step{time.Second, good}, step{time.Second, gone}), nil},
		"nobody asked for long":        {append(every(time.Second, 20*time.Second, full), step{after: time.Minute}), nil},
		"another chance, in vain":      {append(every(time.Second, 20*time.Second, full), step{time.Minute, full}), stream.ErrFull},
		"ids that are being stored":    {every(time.Second, time.Minute, busy), nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker := &script{}
				h := &health{Store: broker}
				for _, s := range test.steps {
					<-time.After(s.after)
					if s.line == nil {
						continue
					}
					broker.lines, broker.attempts = []line{*s.line}, 0
					_, _ = h.StoreAsking(t.Context(), &event.Event{}, nil)
				}
				if err := h.ready(time.Now()); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
					t.Errorf("%v, want %v", err, test.want)
				}
			})
		})
	}
}

// A step is what the broker says to one event, after a while; nil: no event came.
type step struct {
	after time.Duration
	line  *line
}
