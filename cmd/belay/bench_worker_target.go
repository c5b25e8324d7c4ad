package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/belay-hooks/belay/internal/ceiling"
	"github.com/belay-hooks/belay/internal/program"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/service"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

// The programs that handle what is stored.
const (
	programConsume = "consume" // takes and acknowledges
	programWorker  = "worker"  // Belay's
)

// work is what a program has handled.
type work struct {
	Handled uint64    `json:"handled"`
	Twice   uint64    `json:"twice"` // of them, events that it had handled before
	At      time.Time `json:"at"`
	// P50 and P99 are the times from an event's being sent to the broker to its
	// being handled, of those handled since the work was last told.
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
}

// tally counts what is handled.
type tally struct {
	takes time.Duration // to handle an event

	mu    sync.Mutex
	work  work
	seen  []bool // by the number of the event
	waits []time.Duration
}

// handle is what a handler does with an event.
func (t *tally) handle(id string, sent time.Time) {
	waited := time.Since(sent)
	if t.takes > 0 {
		<-time.After(t.takes)
	}
	n, _ := strconv.Atoi(id) // the ids of the load are numbers
	t.mu.Lock()
	defer t.mu.Unlock()
	if n >= len(t.seen) {
		t.seen = append(t.seen, make([]bool, n+1<<16-len(t.seen))...)
	}
	if t.seen[n] {
		t.work.Twice++
	}
	t.seen[n] = true
	t.work.Handled++
	t.waits = append(t.waits, waited)
}

// tell is the work so far.
func (t *tally) tell() *work {
	t.mu.Lock()
	defer t.mu.Unlock()
	told := t.work
	told.At = time.Now()
	if n := len(t.waits); n > 0 {
		slices.Sort(t.waits)
		told.P50, told.P99 = t.waits[n/2], t.waits[n*99/100]
	}
	t.waits = t.waits[:0]
	return &told
}

// consume is the bare loop.
func (t *target) consume() error {
	p, err := ceiling.Connect(t.cmd.Broker)
	if err != nil {
		return err
	}
	t.closers = append(t.closers, p.Close)
	t.tally = &tally{takes: t.cmd.Takes}
	t.Add("bare", service.Func(func(ctx context.Context) error {
		work := ceiling.Work{Stream: stream.In(0), Goroutines: t.cmd.Concurrency}
		return p.Consume(ctx, work, func(header map[string][]string, _ []byte) {
			sent, _ := time.Parse(time.RFC3339Nano, header["ce-time"][0]) // of the load, which is well-formed
			t.tally.handle(header["ce-id"][0], sent)
		})
	}))
	return nil
}

// work is a worker as the program worker runs it.
func (t *target) work(ctx context.Context) error {
	program.CollectLess()
	broker, err := stream.Connect(stream.Config{Name: "worker", URL: t.cmd.Broker, Logger: t.Log})
	if err != nil {
		return err
	}
	t.closers = append(t.closers, broker.Close)
	if err := broker.Open(ctx); err != nil {
		return err
	}
	chains := []handler.Chain{t.counting()}
	if t.cmd.Notify {
		if chains, err = t.notifying(broker); err != nil {
			return err
		}
	}
	w, err := worker.New(ctx, worker.Config{Broker: broker, Logger: t.Log, Metrics: t.Ops.Registry()}, chains...)
	if err != nil {
		return err
	}
	t.Add("worker", w)
	return nil
}

// counting is a chain of three handlers of which the last one counts.
func (t *target) counting() handler.Chain {
	t.tally = &tally{takes: t.cmd.Takes}
	nothing := handler.Do(func(context.Context, *event.Event) error { return nil })
	count := handler.Do(func(_ context.Context, e *event.Event) error {
		t.tally.handle(e.ID, e.Time)
		return nil
	})
	return handler.Chain{
		Name: "bench", Earliest: true, Concurrency: t.cmd.Concurrency, Steps: []handler.Step{
			{Name: "first", Order: 1, Handler: nothing}, {Name: "second", Order: 2, Handler: nothing}, {Name: "count", Order: 3, Handler: count},
		},
	}
}

// notifying is a chain that tells subscribers.
func (t *target) notifying(b *stream.Broker) ([]handler.Chain, error) {
	text := fmt.Sprintf("chains: [{name: bench, start: earliest, concurrency: %d, handlers: [{name: tell, notify: {type: bench}}]}]", t.cmd.Concurrency)
	file, err := config.Parse("bench.yaml", []byte(text), config.Options{})
	if err != nil {
		return nil, err
	}
	return worker.Chains(file, b, t.Log)
}
