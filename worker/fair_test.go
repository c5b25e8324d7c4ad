package worker_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/worker"
)

func publishMany(t *testing.T, publish func(i int)) {
	t.Helper()
	const atOnce = 32
	var next atomic.Int64
	var running sync.WaitGroup
	for range atOnce {
		running.Go(func() {
			for i := int(next.Add(1)); i <= waitingEvents; i = int(next.Add(1)) {
				publish(i)
			}
		})
	}
	running.Wait()
}

// waitingEvents is how many events wait when the chains begin.
const waitingEvents = 3000

// Two chains of one process work off their backlogs side by side: when one is
// through, the other is not far behind.
func TestChainsShareAWorkerFairly(t *testing.T) {
	b := testbroker.New(t)
	publishMany(t, func(i int) {
		publishEvent(t, b, &event.Event{ID: strconv.Itoa(i), Key: strconv.Itoa(i), Type: "github.push", Body: []byte("{}")})
	})
	var done [2]atomic.Int64
	var behind atomic.Int64 // how much the other one has done when the first is through
	chain := func(name string, mine, other int) handler.Chain {
		return handler.Chain{Name: name, Earliest: true, Concurrency: 8, Steps: []handler.Step{
			(&calls{}).step(1, "h", func(*event.Event) (*handler.Response, error) {
				if done[mine].Add(1) == waitingEvents {
					behind.CompareAndSwap(0, done[other].Load())
				}
				return nil, nil
			}),
		}}
	}
	start(t, worker.Config{Broker: b}, chain("a", 0, 1), chain("b", 1, 0))
	waitFor(t, func() bool { return done[0].Load() >= waitingEvents && done[1].Load() >= waitingEvents })
	if n := behind.Load(); n < waitingEvents/2 {
		t.Errorf("when one chain was through, the other had handled %d of %d", n, waitingEvents)
	}
}

// A chain whose handlers hang, with a backlog, takes nothing of what another chain
// of the process needs.
func TestChainThatHangsHoldsUpNoOther(t *testing.T) {
	b := testbroker.New(t)
	publishMany(t, func(i int) {
		publishEvent(t, b, &event.Event{ID: strconv.Itoa(i), Key: strconv.Itoa(i), Type: "github.push", Body: make([]byte, 4096)})
	})
	release := make(chan struct{})
	defer close(release)
	var hanging, handled atomic.Int64
	start(t, worker.Config{Broker: b, MaxBytes: 16 << 20},
		handler.Chain{Name: "hangs", Earliest: true, Steps: []handler.Step{
			(&calls{}).step(1, "h", func(*event.Event) (*handler.Response, error) {
				hanging.Add(1)
				<-release
				return nil, nil
			}),
		}},
		handler.Chain{Name: "serves", Earliest: true, Steps: []handler.Step{
			(&calls{}).step(1, "h", func(*event.Event) (*handler.Response, error) {
				handled.Add(1)
				return nil, nil
			}),
		}})
	waitFor(t, func() bool { return handled.Load() == waitingEvents })
	if hanging.Load() == 0 {
		t.Error("no handler hung")
	}
}
