package worker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

// While a handler runs somebody else may end the event: another worker, where this
// one was cut off, or an operator who erases it. What the handler comes to does not
// overwrite that, and the event is not tried again.
func TestEventIsEndedBySomebodyElseWhileItsHandlerRuns(t *testing.T) {
	for name, after := range map[string]error{"it fails": errors.New("no"), "it is to come later": handler.Later(time.Hour, errors.New("no")), "it succeeds": nil} {
		t.Run(name, func(t *testing.T) {
			b := testbroker.New(t)
			publish(t, b, "1", "push")
			place, log := stream.Place{Seq: 1}, standing.NewLog(b)
			var c calls
			start(t, worker.Config{Broker: b}, handler.Chain{
				Name: "c", Earliest: true, Retry: handler.Retry{Attempts: 5, First: 10 * time.Millisecond, Factor: 1, Max: time.Second, GiveUp: time.Hour},
				Steps: []handler.Step{c.step(1, "h", func(e *event.Event) (*handler.Response, error) {
					if e.Attempt == 1 {
						return nil, errors.New("the first time")
					}
					if err := log.Write(t.Context(), "c", place, standing.Progress{Turn: 9, Outcome: standing.Erased}); err != nil {
						t.Error(err)
					}
					return nil, after
				})},
			})
			waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
			if all := c.all(); len(all) != 2 {
				t.Errorf("calls %v, want 2", all)
			}
			p, err := log.Read(t.Context(), "c", place)
			if err != nil || p.Outcome != standing.Erased || p.Turn != 9 {
				t.Errorf("progress %+v %v", p, err)
			}
			if r := records(t, b, "c", 0); r[0].Outcome != standing.Erased {
				t.Errorf("recorded %+v", r)
			}
		})
	}
}
