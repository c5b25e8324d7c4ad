// Package jobs keeps and drives work over many events or deliveries that somebody has
// ordered: see [standing.Job]. The console has such jobs, and the outbox.
package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// The rate of a job that settles one thing after the other, in a second.
const (
	// DefaultRate is enough for 100 000 in nine minutes, and little beside what comes
	// in.
	DefaultRate = 200
	// MaxRate is the highest.
	MaxRate = 10_000
)

const (
	// beginWithin bounds how long it is tried to store a new job: above the longest
	// election of the broker, 9 s.
	beginWithin = 20 * time.Second
	// attemptTimeout bounds one attempt: a leader that died never answers.
	attemptTimeout = 2 * time.Second
)

// View is the JSON form of a job: without what its driver notes.
type View struct {
	*standing.Job
	// These hide the driver's notes.
	Cursor   any `json:"cursor,omitempty"`
	Border   any `json:"border,omitempty"`
	Subjects any `json:"subjects,omitempty"`
	Borders  any `json:"borders,omitempty"`
	Ready    any `json:"ready,omitempty"`
	Clean    any `json:"clean,omitempty"`
	Owner    any `json:"owner,omitempty"`
	Beat     any `json:"beat,omitempty"`
}

// Page is one page of a list of jobs.
type Page struct {
	Jobs []View `json:"jobs"`
	// Next is the cursor of the next page; empty on the last one.
	Next string `json:"next,omitempty"`
}

// Count is the answer to a dry run.
type Count struct {
	Total  uint64 `json:"total"`
	DryRun bool   `json:"dry_run"`
}

// ErrNone: there is no such job.
var ErrNone = rest.NewProblem(http.StatusNotFound, "there is no such job")

// Board is where jobs are kept: the bucket STATE.
type Board struct {
	state *stream.Bucket
	wake  chan struct{} // tells the driver of a new job
	lease time.Duration
}

// NewBoard returns the board of a broker.
func NewBoard(b *stream.Broker) *Board {
	return &Board{state: b.Bucket(stream.State), wake: make(chan struct{}, 1), lease: leaseFor}
}

// Begin stores a new job, which its driver finds then.
func (b *Board) Begin(ctx context.Context, j *standing.Job) error {
	j.ID, j.State, j.Created = event.NewID(), standing.JobRunning, time.Now().UTC()
	data, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("job: %w", err)
	}
	// Who is told that it is not known whether it was stored orders it again, and has
	// two. The id is new: what is there is this one.
	ctx, cancel := context.WithTimeout(ctx, beginWithin)
	defer cancel()
	if err := stream.WaitOut(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		_, err := b.state.Create(ctx, standing.JobKey(j.ID), data)
		if errors.Is(err, stream.ErrConflict) {
			return nil
		}
		return err
	}); err != nil {
		return err
	}
	b.nudge()
	return nil
}

// Get reads a job. It fails with [ErrNone].
func (b *Board) Get(ctx context.Context, id string) (*standing.Job, error) {
	if !rest.ValidName(id) {
		return nil, ErrNone
	}
	e, err := b.state.Get(ctx, standing.JobKey(id))
	if errors.Is(err, stream.ErrNotFound) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	return standing.ReadJob(e)
}

// List is the page of the wanted jobs that a request asks for, the newest first.
func (b *Board) List(r *http.Request, wanted func(*standing.Job) bool) (Page, error) {
	page := Page{Jobs: []View{}}
	q := rest.NewQuery(r)
	limit, before := q.Page()
	if before != "" && !rest.ValidName(before) {
		q.BadCursor()
	}
	if err := q.Err(); err != nil {
		return page, err
	}
	keys, err := b.state.Keys(r.Context(), standing.JobKeys)
	if err != nil {
		return page, err
	}
	// The ids sort by time.
	slices.Sort(keys)
	for _, key := range slices.Backward(keys) {
		id := strings.TrimPrefix(key, standing.JobKey(""))
		if before != "" && id >= before {
			continue
		}
		j, err := b.Get(r.Context(), id)
		if errors.Is(err, ErrNone) || err == nil && !wanted(j) {
			continue
		}
		if err != nil {
			return page, err
		}
		if len(page.Jobs) == limit {
			page.Next = rest.Cursor(page.Jobs[limit-1].ID)
			break
		}
		page.Jobs = append(page.Jobs, View{Job: j})
	}
	return page, nil
}

// Change pauses, resumes or cancels a job, which are the verbs. What it has in hand
// ends first. It reports whether that changed anything.
func (b *Board) Change(ctx context.Context, id, verb, who string) (j *standing.Job, changed bool, err error) {
	next := map[string]standing.JobState{
		"pause": standing.JobPaused, "resume": standing.JobRunning, "cancel": standing.JobCancelled,
	}[verb]
	for {
		j, err := b.Get(ctx, id)
		switch {
		case err != nil:
			return nil, false, err
		case j.State == next:
			return j, false, nil
		case j.HasEnded():
			return nil, false, rest.NewProblem(http.StatusConflict, "the job is "+string(j.State)+": it cannot be changed any more")
		}
		j.State, j.ChangedBy = next, who
		if next == standing.JobCancelled {
			j.Ended = time.Now().UTC()
		}
		err = b.store(ctx, j)
		if errors.Is(err, stream.ErrConflict) {
			continue // its driver has just noted how far it is
		}
		if err == nil {
			b.nudge()
		}
		return j, err == nil, err
	}
}

// store replaces what is stored of a job, if that is still what it was read from.
func (b *Board) store(ctx context.Context, j *standing.Job) error {
	data, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("job %s: %w", j.ID, err)
	}
	j.Revision, err = b.state.Update(ctx, standing.JobKey(j.ID), data, j.Revision)
	return err
}

// nudge tells the driver that there is something to do.
func (b *Board) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}
