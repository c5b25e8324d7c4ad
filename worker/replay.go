package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/stream"
)

// replays are those that operators have ordered, of all chains.
type replays struct {
	mu      sync.Mutex
	jobs    map[string]*standing.Job // by key
	changed chan struct{}            // closed when one has begun, or stopped
}

func newReplays() *replays {
	return &replays{jobs: make(map[string]*standing.Job), changed: make(chan struct{})}
}

func (p *replays) watcher(log *slog.Logger) stream.Watcher {
	set := func(e stream.Entry) (news bool) {
		j, err := standing.ReadJob(e)
		if err != nil {
			log.Error("a job of an operator cannot be read", "error", err)
			return false
		}
		was := p.jobs[e.Key]
		p.jobs[e.Key] = j
		return runs(was) != runs(j)
	}
	tell := func() {
		close(p.changed)
		p.changed = make(chan struct{})
	}
	return stream.Watcher{
		Reset: func(all []stream.Entry) {
			p.mu.Lock()
			defer p.mu.Unlock()
			clear(p.jobs)
			for _, e := range all {
				set(e)
			}
			tell()
		},
		Put: func(e stream.Entry) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if set(e) {
				tell()
			}
		},
		Delete: func(key string, _ uint64) {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.jobs, key)
			tell()
		},
	}
}

func runs(j *standing.Job) bool {
	return j != nil && j.Kind == standing.JobReplay && j.Ready && j.State == standing.JobRunning
}

// of are the replays of a chain that run, by id, and what tells of a change.
func (p *replays) of(chain string) (map[string]*standing.Job, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	mine := make(map[string]*standing.Job)
	for _, j := range p.jobs {
		if runs(j) && j.Chain == chain {
			mine[j.ID] = j
		}
	}
	return mine, p.changed
}

// runReplays takes part in the replays of the chain until fetch ends.
func (r *runner) runReplays(fetch, work context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	stops := make(map[string]context.CancelFunc)
	for fetch.Err() == nil {
		jobs, changed := r.replays.of(r.chain.Name)
		for id, stop := range stops {
			if jobs[id] == nil {
				stop()
				delete(stops, id)
			}
		}
		for id, job := range jobs {
			if stops[id] != nil {
				continue
			}
			ctx, stop := context.WithCancel(fetch)
			stops[id] = stop
			running.Go(func() { r.replay(ctx, work, job) })
		}
		select {
		case <-fetch.Done():
		case <-changed:
		}
	}
	for _, stop := range stops {
		stop()
	}
}

// replay is a run of the chain over stored events.
type replay struct {
	job     *standing.Job
	ledgers []*stream.Ledger // by shard
}

// replay takes part in a replay: in slots of its own, beside those that the chain
// has for what comes in.
func (r *runner) replay(fetch, work context.Context, job *standing.Job) {
	p := &replay{job: job}
	slots := stream.NewSlots(job.Concurrency)
	var wg sync.WaitGroup
	for shard := range job.Borders {
		p.ledgers = append(p.ledgers, r.config.Broker.RunLedger(r.chain.Name, shard, job.Run, job.Created))
	}
	for shard, border := range job.Borders {
		var consumer *stream.Consumer
		err := stream.WaitOut(fetch, func() (err error) {
			consumer, err = r.config.Broker.Consumer(fetch, stream.In(shard), job.ReplayConsumer())
			return err
		})
		if errors.Is(err, stream.ErrNotFound) || fetch.Err() != nil {
			continue // it is over
		}
		if err != nil {
			r.log.Warn("a replay is left to other workers", "replay", job.ID, "shard", shard, "error", err)
			continue
		}
		wg.Go(func() {
			consumer.Run(fetch, work, stream.RunConfig{
				Pull: job.Concurrency, Bytes: leastShare, Slots: slots, Open: r.gate.Open, Ledger: p.ledgers[shard],
				Handle: func(ctx context.Context, h *stream.Held) {
					if h.Seq > border {
						// What came in since is not its. It goes on all the same: what others
						// give back, and what is tried again soon, lies before.
						r.tell(ctx, h, stream.Ack)
						return
					}
					place := stream.Place{Shard: shard, Seq: h.Seq, Run: job.Run}
					r.handle(ctx, &task{Place: place, held: h, touched: h.Touched, replay: p})
				},
			})
		})
	}
	wg.Wait()
}
