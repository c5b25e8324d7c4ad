// Package worker takes stored events, runs the chains of handlers over them,
// and settles each once: done, again later, or given up.
//
// The path of an event, one file a hop:
//
//	worker.go    Worker: the chains that run
//	runner.go    runner: a chain's consumers
//	handle.go    handle: an event from its message to its settlement
//	execute.go   execute: the handlers in order, to an outcome
//	ordered.go   the shards of an ordered chain: lines.go, a line of events for a key;
//	             ordered_handle.go, the first of a line
//	answer.go    answer: the outcome to the sender, where it waits for the chain
//	replay.go    replay: stored events once more, as operators order
//	settle.go    settle: the outcome to durable writes and an ack; bury.go, to a dead letter
//	progress.go  progress: where a chain stands in an event that failed
//	poison.go    events that end the process which handles them
//	pause.go     the gate of a chain that an operator pauses
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
)

// Config is what a worker needs besides its chains.
type Config struct {
	// Broker holds the events. It must be open. Required.
	Broker *stream.Broker
	// Generation is the version of the configuration that the chains come from;
	// see [stream.ConsumerConfig].
	Generation int
	// Grace is how long handlers may go on after the worker was told to stop.
	// What has not ended then is given back. 0: 20 s.
	Grace time.Duration
	// ShortRetry is the longest wait that is left to the broker's memory; a
	// longer one is parked in the log. 0: 10 s.
	ShortRetry time.Duration
	// Lease is how long the shards of an ordered chain wait for a worker that has
	// died before another one takes them over. It should be longer than the broker
	// may be away, which takes a cluster 4 to 9 s. 0: 15 s.
	Lease time.Duration
	// MaxBytes is about how many bytes the events in hand may take. 0: a quarter of
	// the memory limit of the process, 256 MiB without one.
	MaxBytes int64
	// Logger gets a line for each settled event. Of those that went well at the first
	// attempt, at level info, a chain logs some 100 a second at most. Required.
	Logger *slog.Logger
	// Metrics is where the worker registers what it counts. nil: nowhere.
	Metrics prometheus.Registerer
}

// Worker runs chains.
type Worker struct {
	config  Config
	metrics *metrics
	paused  *standing.Switches
	places  *semaphore.Weighted // of the events that are worked on: see enter
	room    room

	mu      sync.Mutex
	current *chains
	changed chan struct{} // closed when current has been replaced

	replays *replays
}

// chains are those of one configuration.
type chains struct {
	runners []*runner
	fetch   context.Context // ends when they must take no more
	stop    context.CancelFunc
}

// New sets up the chains: their consumers exist when it returns, so no event
// that is accepted from then on passes them by. It waits for a broker that goes
// away meanwhile, until ctx ends.
func New(ctx context.Context, c Config, all ...handler.Chain) (*Worker, error) {
	if c.Grace == 0 {
		c.Grace = 20 * time.Second
	}
	if c.ShortRetry == 0 {
		c.ShortRetry = 10 * time.Second
	}
	w := &Worker{
		config: c, metrics: newMetrics(c.Metrics), changed: make(chan struct{}),
		replays: newReplays(), paused: standing.NewSwitches(standing.Paused),
		places: semaphore.NewWeighted(everybody), room: newRoom(c.maxBytes() / 2),
	}
	if err := stream.WaitOut(ctx, func() (err error) {
		w.current, err = w.setUp(ctx, all)
		return err
	}); err != nil {
		return nil, err
	}
	return w, nil
}

// Validate tells what is wrong with a set of chains.
func Validate(all []handler.Chain) error {
	seen := make(map[string]bool, len(all))
	for _, c := range all {
		if err := c.Validate(); err != nil {
			return err
		}
		if seen[c.Name] {
			return fmt.Errorf("two chains are named %s", c.Name)
		}
		seen[c.Name] = true
	}
	return nil
}

func (w *Worker) setUp(ctx context.Context, all []handler.Chain) (*chains, error) {
	if err := Validate(all); err != nil {
		return nil, err
	}
	set := &chains{}
	for _, c := range all {
		r, err := w.newRunner(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("chain %s: %w", c.Name, err)
		}
		set.runners = append(set.runners, r)
	}
	w.shareOut(set.runners)
	// It ends with Run or with the next Reload, not with the caller's context.
	set.fetch, set.stop = context.WithCancel(context.WithoutCancel(ctx))
	return set, nil
}

// Reload replaces the chains. What is being handled ends under the old ones while
// the new ones begin; if those cannot be set up the old ones go on.
func (w *Worker) Reload(ctx context.Context, generation int, all ...handler.Chain) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.config.Generation
	w.config.Generation = generation
	next, err := w.setUp(ctx, all)
	if err != nil {
		w.config.Generation = before
		return err
	}
	w.current.stop()
	w.current = next
	close(w.changed)
	w.changed = make(chan struct{})
	return nil
}

// Run runs the chains until ctx ends and what is being handled has ended too,
// or has been given back.
func (w *Worker) Run(ctx context.Context) error {
	work, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)
	stopping := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(w.config.Grace)
		defer timer.Stop()
		select {
		case <-work.Done():
		case <-timer.C:
			abort(errGraceOver)
		}
	})
	defer stopping()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		w.config.Broker.Bucket(stream.State).WatchFiltered(ctx, standing.JobKeys, w.replays.watcher(w.config.Logger))
	})
	running.Go(func() { w.paused.Follow(ctx, w.config.Broker, w.config.Logger) })
	for {
		w.mu.Lock()
		set, changed := w.current, w.changed
		w.mu.Unlock()
		running.Go(func() { set.run(work) })
		running.Go(func() { w.reportRemoved(ctx, changed) })
		select {
		case <-ctx.Done():
			set.stop()
			return nil
		case <-changed: // Reload has stopped the set
		}
	}
}

var errGraceOver = errors.New("the worker was stopped and its grace period is over")

func (c *chains) run(work context.Context) {
	var wg sync.WaitGroup
	for _, r := range c.runners {
		wg.Go(func() { r.run(c.fetch, work) })
	}
	wg.Wait()
}
