package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

const (
	// leaseFor is after how long without a word of its driver a job is another's. In a
	// third of that the driver gives one, and the jobs are looked through for such.
	leaseFor = 15 * time.Second
	// releaseWithin bounds the write that gives it up at the end of a process.
	releaseWithin = 2 * time.Second
	// keepJobs is how long a job that has ended is kept.
	keepJobs = 30 * 24 * time.Hour
	// pageSize is how many things are settled between two notes of how far a job is,
	// and atOnce how many of them at the same time.
	pageSize = 100
	atOnce   = 16
)

// Driver drives the jobs that this process has the lease of.
type Driver struct {
	board   *Board
	log     *slog.Logger
	kinds   []standing.JobKind
	run     func(context.Context, *Driver, *standing.Job) error
	me      string
	running sync.WaitGroup

	mu     sync.Mutex
	jobs   map[string]*standing.Job // as they are known
	driven map[string]bool
}

// Drive drives the jobs of some kinds until ctx ends, one process at a time each. run
// sees a job through, to its end or until [Driver.Note] says that it is not to be
// driven any more; one that fails is run again soon, wherever.
func (b *Board) Drive(ctx context.Context, log *slog.Logger, run func(context.Context, *Driver, *standing.Job) error, kinds ...standing.JobKind) {
	d := &Driver{
		board: b, log: log, kinds: kinds, run: run, me: event.NewID(),
		jobs: make(map[string]*standing.Job), driven: make(map[string]bool),
	}
	defer d.running.Wait()
	d.running.Go(func() { b.state.WatchFiltered(ctx, standing.JobKeys, d.watcher()) })
	ticker := time.NewTicker(b.lease / 3)
	defer ticker.Stop()
	for {
		d.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-b.wake:
		}
	}
}

func (d *Driver) drives(kind standing.JobKind) bool { return slices.Contains(d.kinds, kind) }

// watcher keeps the jobs as they are known up to date.
func (d *Driver) watcher() stream.Watcher {
	put := func(e stream.Entry) {
		j, err := standing.ReadJob(e)
		if err != nil {
			d.log.Error("a job cannot be read and is not driven", "error", err)
			return
		}
		if d.drives(j.Kind) {
			d.jobs[e.Key] = j
		}
	}
	return stream.Watcher{
		Reset: func(all []stream.Entry) {
			d.mu.Lock()
			defer d.mu.Unlock()
			clear(d.jobs)
			for _, e := range all {
				put(e)
			}
			d.board.nudge()
		},
		Put: func(e stream.Entry) {
			d.mu.Lock()
			defer d.mu.Unlock()
			put(e)
			if j := d.jobs[e.Key]; j != nil && j.Owner != d.me {
				d.board.nudge()
			}
		},
		Delete: func(key string, _ uint64) {
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.jobs, key)
		},
	}
}

// look begins to drive what nobody drives.
func (d *Driver) look(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, j := range d.jobs {
		toDo := j.State == standing.JobRunning || j.LeavesSomething()
		switch {
		case d.driven[j.ID]:
		case toDo && (j.Owner == d.me || time.Since(j.Beat) > d.board.lease):
			d.driven[j.ID] = true
			d.running.Go(func() {
				d.job(ctx, j.ID)
				d.mu.Lock()
				delete(d.driven, j.ID)
				d.mu.Unlock()
			})
		case j.HasEnded() && time.Since(j.Ended) > keepJobs:
			if err := d.board.state.Delete(ctx, key); err != nil {
				d.log.Debug("an old job is left for later", "job", j.ID, "error", err)
			}
		}
	}
}

// job takes the lease of a job and drives it to its end, or until it is paused. One
// that has ended elsewhere, paused as it was, is driven for what it leaves.
func (d *Driver) job(ctx context.Context, id string) {
	j, err := d.board.Get(ctx, id)
	if err == nil && (j.Owner == d.me || time.Since(j.Beat) > d.board.lease) {
		var mine bool
		if mine, err = d.Note(ctx, j); mine || err == nil && j.LeavesSomething() {
			d.log.Info("job goes on", "job", j.ID, "kind", j.Kind, "handled", j.Handled, "total", j.Total)
			err = d.keeping(ctx, id, func() error { return d.run(ctx, d, j) })
			if ctx.Err() != nil {
				d.release(ctx, id)
			}
		}
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrNone) {
		d.log.Warn("job interrupted, it goes on soon", "job", id, "error", err)
	}
}

// keeping keeps the lease of a job while it is run: what is noted may be far between.
func (d *Driver) keeping(ctx context.Context, id string, run func() error) error {
	ctx, stop := context.WithCancel(ctx)
	var beating sync.WaitGroup
	defer beating.Wait()
	defer stop()
	beating.Go(func() {
		ticker := time.NewTicker(d.board.lease / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			j, err := d.board.Get(ctx, id)
			if err == nil && j.Owner == d.me {
				j.Beat = time.Now().UTC()
				err = d.board.store(ctx, j)
			}
			if err != nil {
				d.log.Debug("the lease of a job is not prolonged", "job", id, "error", err)
			}
		}
	})
	return run()
}

// release gives up the lease of a job, so that the next process need not outwait it.
func (d *Driver) release(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer cancel()
	j, err := d.board.Get(ctx, id)
	if err == nil && j.Owner == d.me {
		j.Owner, j.Beat = "", time.Time{}
		err = d.board.store(ctx, j)
	}
	if err != nil {
		d.log.Debug("the lease of a job is left to run out", "job", id, "error", err)
	}
}

// Note stores how far a job is, and that it is driven here. It reports whether it is
// still to be driven: not if an operator has paused or cancelled it, or another
// process has taken it. The job is brought up to date.
func (d *Driver) Note(ctx context.Context, j *standing.Job) (mine bool, err error) {
	for {
		j.Owner, j.Beat = d.me, time.Now().UTC()
		err := d.board.store(ctx, j)
		if !errors.Is(err, stream.ErrConflict) {
			return err == nil && j.State == standing.JobRunning, err
		}
		now, err := d.board.Get(ctx, j.ID)
		if err != nil {
			return false, err
		}
		if now.Owner != d.me && time.Since(now.Beat) < d.board.lease {
			return false, nil
		}
		if j.State != standing.JobDone {
			j.State, j.Ended = now.State, now.Ended
		}
		j.ChangedBy, j.Revision = now.ChangedBy, now.Revision
	}
}

// Pages settles what a job is about, page by page from its cursor on. next reads a
// page of at most so many, and where the one after it begins; 0 at the end. A page
// that a crash has cut is begun again.
func Pages[T fmt.Stringer](ctx context.Context, d *Driver, j *standing.Job,
	next func(ctx context.Context, cursor uint64, most int) (page []T, after uint64, err error),
	settle func(ctx context.Context, one T) error) error {
	limiter := rate.NewLimiter(rate.Limit(j.Rate), 1)
	for {
		page, after, err := next(ctx, j.Cursor, min(pageSize, j.Rate))
		if err != nil {
			return err
		}
		if err := settlePage(ctx, j, limiter, page, settle); err != nil {
			return err
		}
		if j.Cursor = after; after == 0 {
			j.State, j.Ended = standing.JobDone, time.Now().UTC()
		}
		mine, err := d.Note(ctx, j)
		if j.State == standing.JobDone && err == nil {
			d.log.Info("job done", "job", j.ID, "kind", j.Kind, "handled", j.Handled, "skipped", j.Skipped)
		}
		if !mine {
			return err
		}
	}
}

// ErrSkip: there is nothing to be done about this one.
var ErrSkip = errors.New("skipped")

func settlePage[T fmt.Stringer](ctx context.Context, j *standing.Job, limiter *rate.Limiter, page []T, settle func(context.Context, T) error) error {
	var mu sync.Mutex
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, one := range page {
		if limiter.Wait(running) != nil {
			break // an error of the group, or the end of the process
		}
		group.Go(func() error {
			err := settle(running, one)
			mu.Lock()
			defer mu.Unlock()
			var p *rest.Problem
			switch {
			case err == nil:
				j.Handled++
			case errors.Is(err, ErrSkip):
				j.Skipped++
			case errors.As(err, &p) && (p.Status == http.StatusConflict || p.Status == http.StatusNotFound):
				j.Skipped++
				j.Error = one.String() + ": " + p.Detail
			default:
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}
