package worker_test

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

// An event that has ended its workers four times is run alone, and given up when
// that has ended one too. Those beside it go through.
func TestEventThatEndsItsWorkers(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprintf("ordered %v", ordered), func(t *testing.T) {
			b := testbroker.New(t)
			const beside = 20
			begun := map[uint64]int{1: 4, 2: 5}
			for i := range beside + 2 {
				publishEvent(t, b, &event.Event{ID: fmt.Sprint(i + 1), Key: fmt.Sprint(i), Type: "github.push", Body: []byte("{}")})
			}
			for seq, n := range begun {
				data, err := json.Marshal(standing.Progress{Begun: n})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := b.Bucket(stream.Progress).Put(t.Context(), stream.ProgressKey("c", stream.Place{Seq: seq}), data); err != nil {
					t.Fatal(err)
				}
			}
			var c calls
			var running, together atomic.Int32
			start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Earliest: true, Ordered: ordered, Steps: []handler.Step{
				c.step(1, "h", func(e *event.Event) (*handler.Response, error) {
					if n := running.Add(1); e.ID == "1" && n > 1 {
						together.Add(1)
					}
					for range 1000 {
						if e.ID == "1" && running.Load() > 1 {
							together.Add(1)
						}
					}
					running.Add(-1)
					return nil, nil
				}),
			}})
			waitFor(t, func() bool { return len(c.all()) == beside+1 })
			if n := together.Load(); n > 0 {
				t.Errorf("the event that was to be alone was not: %d", n)
			}
			m := waitForLetter(t, b)
			l, err := standing.ReadLetter(m)
			if err != nil || l.Reason != "crashed" || l.Handler != "h" || l.Event == nil || l.Event.ID != "2" || !l.Whole {
				t.Errorf("dead letter %+v %v", l, err)
			}
			for seq := uint64(1); seq <= 3; seq++ {
				waitFor(t, func() bool {
					p, _, err := standing.NewLog(b).Find(t.Context(), "c", stream.Place{Seq: seq})
					return err == nil && p.Outcome != ""
				})
			}
		})
	}
}

func waitForLetter(t *testing.T, b *stream.Broker) (m *stream.Stored) {
	t.Helper()
	waitFor(t, func() bool {
		var err error
		m, err = b.Last(t.Context(), stream.Dead, stream.DeadEvents("c"))
		return err == nil
	})
	return m
}

// What comes in while the worker is there costs no write before its handlers.
func TestOnlyWhatWasThereBeforeIsCounted(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Steps: []handler.Step{c.step(1, "h", nil)}})
	publish(t, b, "first", "push")
	c.wait(t, "first:h#1")
	publish(t, b, "second", "push")
	waitFor(t, func() bool { return len(c.all()) == 2 })
	if keys, err := b.Bucket(stream.Progress).Keys(t.Context(), stream.ProgressKey("c", stream.Place{Seq: 2})); err != nil || len(keys) != 0 {
		t.Errorf("progress of %v %v", keys, err)
	}
}
