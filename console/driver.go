package console

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/belay-hooks/belay/internal/redrive"
	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

const (
	// leaseFor is after how long without a word of its driver a job is another's.
	leaseFor = 15 * time.Second
	// lookEvery is how often the jobs are looked through for such.
	lookEvery = 5 * time.Second
	// keepJobs is how long a job that has ended is kept.
	keepJobs = 30 * 24 * time.Hour
	// pageSize is how many dead letters are settled between two notes of how far a
	// job is, and atOnce how many of them at the same time.
	pageSize = 100
	atOnce   = 16
)

// driver drives the jobs that this console has the lease of.
type driver struct {
	*Server
	me      string
	running sync.WaitGroup

	mu     sync.Mutex
	jobs   map[string]*standing.Job // as they are known
	driven map[string]bool
}

// drive drives jobs until ctx ends.
func (s *Server) drive(ctx context.Context) {
	d := &driver{Server: s, me: event.NewID(), jobs: make(map[string]*standing.Job), driven: make(map[string]bool)}
	defer d.running.Wait()
	d.running.Go(func() { s.state.WatchFiltered(ctx, standing.JobKeys, d.watcher()) })
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		d.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.wake:
		}
	}
}

// watcher keeps the jobs as they are known up to date.
func (d *driver) watcher() stream.Watcher {
	put := func(e stream.Entry) {
		j, err := standing.ReadJob(e)
		if err != nil {
			d.log.Error("a job cannot be read and is not driven", "error", err)
			return
		}
		d.jobs[e.Key] = j
	}
	return stream.Watcher{
		Reset: func(all []stream.Entry) {
			d.mu.Lock()
			defer d.mu.Unlock()
			clear(d.jobs)
			for _, e := range all {
				put(e)
			}
			d.nudge()
		},
		Put: func(e stream.Entry) {
			d.mu.Lock()
			defer d.mu.Unlock()
			put(e)
			if j := d.jobs[e.Key]; j != nil && j.Owner != d.me {
				d.nudge()
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
func (d *driver) look(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, j := range d.jobs {
		toDo := j.State == standing.JobRunning || j.Kind == standing.JobReplay && j.HasEnded() && !j.Clean
		switch {
		case d.driven[j.ID]:
		case toDo && (j.Owner == d.me || time.Since(j.Beat) > leaseFor):
			d.driven[j.ID] = true
			d.running.Go(func() {
				d.job(ctx, j.ID)
				d.mu.Lock()
				delete(d.driven, j.ID)
				d.mu.Unlock()
			})
		case j.HasEnded() && time.Since(j.Ended) > keepJobs:
			if err := d.state.Delete(ctx, key); err != nil {
				d.log.Debug("an old job is left for later", "job", j.ID, "error", err)
			}
		}
	}
}

// job takes the lease of a job and drives it to its end, or until it is paused.
func (d *driver) job(ctx context.Context, id string) {
	j, err := d.Server.job(ctx, id)
	if err == nil && (j.Owner == d.me || time.Since(j.Beat) > leaseFor) {
		var mine bool
		if mine, err = d.note(ctx, j); mine {
			d.log.Info("job goes on", "job", j.ID, "kind", j.Kind, "handled", j.Handled, "total", j.Total)
			if j.Kind == standing.JobReplay {
				err = d.replay(ctx, j)
			} else {
				err = d.settleAll(ctx, j)
			}
		}
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, noJob) {
		d.log.Warn("job interrupted, it goes on soon", "job", id, "error", err)
	}
}

// note stores how far a job is, and that it is driven here. It reports whether it is
// still to be driven: not if an operator has paused or cancelled it, or another
// console has taken it. The job is brought up to date.
func (d *driver) note(ctx context.Context, j *standing.Job) (mine bool, err error) {
	for {
		j.Owner, j.Beat = d.me, time.Now().UTC()
		err := d.store(ctx, j)
		if !errors.Is(err, stream.ErrConflict) {
			return err == nil && j.State == standing.JobRunning, err
		}
		now, err := d.Server.job(ctx, j.ID)
		if err != nil {
			return false, err
		}
		if now.Owner != d.me && time.Since(now.Beat) < leaseFor {
			return false, nil
		}
		if j.State != standing.JobDone {
			j.State, j.Ended = now.State, now.Ended
		}
		j.ChangedBy, j.Revision = now.ChangedBy, now.Revision
	}
}

// settleAll redrives or discards the dead letters that a job selects, page by page
// from its cursor on. A page that a crash has cut is begun again: what is settled
// is not among the open any more.
func (d *driver) settleAll(ctx context.Context, j *standing.Job) error {
	limiter := rate.NewLimiter(rate.Limit(j.Rate), 1)
	if err := d.recount(ctx, j); err != nil {
		return err
	}
	for {
		var page []stream.LetterID
		next := uint64(0)
		err := d.scan(ctx, open, j.Filter, j.Cursor, func(l *standing.Letter) bool {
			if l.Seq > j.Border {
				return false
			}
			if len(page) == min(pageSize, j.Rate) {
				next = l.Seq
				return false
			}
			page = append(page, l.LetterID)
			return true
		})
		if err != nil {
			return err
		}
		if err := d.settlePage(ctx, j, limiter, page); err != nil {
			return err
		}
		if j.Cursor = next; next == 0 {
			j.State, j.Ended = standing.JobDone, time.Now().UTC()
		}
		mine, err := d.note(ctx, j)
		if j.State == standing.JobDone && err == nil {
			d.log.Info("job done", "job", j.ID, "kind", j.Kind, "handled", j.Handled, "skipped", j.Skipped)
		}
		if !mine {
			return err
		}
	}
}

// recount makes up for what a driver that died has not noted.
func (d *driver) recount(ctx context.Context, j *standing.Job) error {
	left, err := d.openLetters(ctx, j)
	j.Handled = j.Total - min(j.Total, left+j.Skipped)
	return err
}

func (d *driver) settlePage(ctx context.Context, j *standing.Job, limiter *rate.Limiter, page []stream.LetterID) error {
	o := redrive.Order{Verb: standing.Redriven, Start: j.At == "start", Run: j.Run, By: j.By, Why: j.Why, Job: j.ID}
	if j.Kind == standing.JobDiscard {
		o.Verb = standing.Discarded
	}
	var mu sync.Mutex
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, id := range page {
		if limiter.Wait(running) != nil {
			break // an error of the group, or the end of the console
		}
		group.Go(func() error {
			err := d.desk.Settle(running, id, o)
			mu.Lock()
			defer mu.Unlock()
			var p *rest.Problem
			switch {
			case err == nil:
				j.Handled++
			case errors.As(err, &p) && (p.Status == http.StatusConflict || p.Status == http.StatusNotFound):
				j.Skipped++
				j.Error = id.String() + ": " + p.Detail
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
