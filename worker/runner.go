package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/belay-hooks/belay/internal/routine"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
)

// runner runs one chain: a consumer for each shard of what came in, and one for
// what it has parked.
type runner struct {
	*Worker
	chain    handler.Chain
	steps    []handler.Step
	times    map[string]stepTimes // by the name of the step
	log      *slog.Logger
	routine  *routine.Lines
	slots    stream.Slots
	share    int64 // bytes of messages that each of its consumers may hold
	gate     *gate
	ledgers  []*stream.Ledger // by shard
	incoming []*stream.Consumer
	parked   *stream.Consumer
	progress standing.Log
	maxPark  time.Duration // what is parked for longer comes by now and then; 0: no bound
}

func (w *Worker) newRunner(ctx context.Context, c handler.Chain) (*runner, error) {
	if c.Concurrency == 0 {
		c.Concurrency = handler.DefaultConcurrency
	}
	if c.MaxWaiting == 0 {
		c.MaxWaiting = handler.DefaultMaxWaiting
	}
	if c.MaxWaitingBytes == 0 {
		c.MaxWaitingBytes = handler.DefaultMaxWaitingBytes
	}
	if c.Retry == (handler.Retry{}) {
		c.Retry = handler.DefaultRetry
	}
	b := w.config.Broker
	for _, s := range c.Steps {
		if h, ok := s.Handler.(bound); ok {
			h.bind(b)
		}
	}
	log := w.config.Logger.With("chain", c.Name)
	r := &runner{
		Worker: w, chain: c, steps: c.Sorted(),
		times: w.metrics.of(c.Name, c.Steps),
		log:   log, routine: routine.NewLines(log),
		slots:    stream.NewSlots(c.Concurrency),
		gate:     &gate{chain: c.Name, switches: w.paused, metrics: w.metrics},
		progress: standing.NewLog(b),
	}
	patterns := make([]event.Pattern, len(c.Events))
	for i, text := range c.Events {
		var err error
		if patterns[i], err = event.ParsePattern(text); err != nil {
			return nil, err
		}
	}
	for shard := range b.Shards() {
		consumer, err := r.ensureIncoming(ctx, stream.ConsumerConfig{
			Stream: stream.In(shard), Filters: event.Filters(c.From, patterns),
			Start:      stream.Start{Earliest: c.Earliest, At: c.Since},
			Generation: w.config.Generation,
		})
		if err != nil {
			return nil, err
		}
		r.incoming = append(r.incoming, consumer)
		r.ledgers = append(r.ledgers, b.ChainLedger(c.Name, shard))
	}
	kept, err := b.Bucket(stream.Progress).TTL(ctx)
	if err != nil {
		return nil, err
	}
	r.maxPark = kept / 2
	r.parked, err = b.EnsureConsumer(ctx, stream.ConsumerConfig{
		Stream: stream.Retry, Name: "chain-" + c.Name, Filters: []string{stream.RetryDueAll(c.Name)},
	})
	return r, err
}

// burst is how many events of a shard are held at once where handlers are quick.
const burst = 512

func (r *runner) run(fetch, work context.Context) {
	if leave, err := r.config.Broker.Attend(r.chain.Name); err != nil {
		r.log.Warn("the chain is shown as one that nobody runs", "error", err)
	} else {
		defer leave()
	}
	var wg sync.WaitGroup
	shards := len(r.incoming)
	pull := 2 * (r.chain.Concurrency + shards - 1) / shards
	if r.chain.Ordered {
		wg.Go(func() { r.runOrdered(fetch, work) })
	}
	for shard, consumer := range r.incoming {
		if r.chain.Ordered {
			break
		}
		wg.Go(func() {
			consumer.Run(fetch, work, stream.RunConfig{
				Pull: pull, Burst: burst, Bytes: r.share, Slots: r.slots, Open: r.gate.Open, Ledger: r.ledgers[shard],
				Handle: func(ctx context.Context, h *stream.Held) {
					r.handle(ctx, &task{Place: stream.Place{Shard: shard, Seq: h.Seq}, held: h, touched: h.Touched})
				},
			})
		})
	}
	wg.Go(func() { r.runReplays(fetch, work) })
	wg.Go(func() {
		r.parked.Run(fetch, work, stream.RunConfig{Pull: pull, Bytes: r.share, Slots: r.slots, Open: r.gate.Open, Handle: r.handleParked})
	})
	wg.Wait()
}
