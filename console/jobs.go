package console

import (
	"cmp"
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

const (
	// defaultRate is how many dead letters a second a job settles: enough for 100 000
	// in nine minutes, and little beside what comes in.
	defaultRate = 200
	maxRate     = 10_000
)

// jobView is the JSON form of a job: without what its driver notes.
type jobView struct {
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

// count is the answer to a dry run.
type count struct {
	Total  uint64 `json:"total"`
	DryRun bool   `json:"dry_run"`
}

func (s *Server) createJob(w http.ResponseWriter, r *http.Request, who string) error {
	f, err := bodyOf(w, r)
	if err != nil {
		return err
	}
	j, dry, err := readJob(f)
	if err != nil {
		return err
	}
	j.By = who
	if _, j.Border, err = s.broker.Bounds(r.Context(), stream.Dead); err != nil {
		return err
	}
	if j.Total, err = s.openLetters(r.Context(), j); err != nil {
		return err
	}
	if dry {
		rest.WriteJSON(w, http.StatusOK, "application/json", count{j.Total, true})
		return nil
	}
	if j.At == "start" {
		if j.Run, err = s.desk.NextRun(r.Context(), j.Filter.Chain); err != nil {
			return err
		}
	}
	return s.begin(w, r, j)
}

// readJob reads a request for a redrive, or a discard, of many dead letters.
func readJob(f *rest.Fields) (j *standing.Job, dry bool, err error) {
	f.Only("at", "dry_run", "filter", "kind", "rate", "why")
	j = &standing.Job{
		Kind: standing.JobKind(f.Text("kind", maxText)), Why: f.Text("why", maxText),
		Rate: int(cmp.Or(f.Integer("rate", 1, maxRate), defaultRate)),
	}
	if j.Kind != standing.JobRedrive && j.Kind != standing.JobDiscard {
		f.Bad("want redrive or discard; a replay is made at /v1/replays", "kind")
	}
	start := atField(f)
	switch {
	case start && j.Kind == standing.JobRedrive:
		j.At = "start"
	case start:
		f.Bad("only for a redrive", "at")
	case j.Kind == standing.JobRedrive:
		j.At = "failed"
	}
	dry = f.Bool("dry_run")
	if j.Filter, err = fieldsFilter(f, "filter"); err == nil {
		err = f.Err()
	}
	if err == nil && start && j.Filter.Chain == "" {
		err = rest.NewProblem(http.StatusUnprocessableEntity, "a redrive from the start is of one chain: want filter.chain")
	}
	return j, dry, err
}

// openLetters is how many dead letters a job has still to settle.
func (s *Server) openLetters(ctx context.Context, j *standing.Job) (n uint64, err error) {
	err = s.scan(ctx, open, j.Filter, j.Cursor, func(l *standing.Letter) bool {
		if l.Seq <= j.Border {
			n++
		}
		return l.Seq < j.Border
	})
	return n, err
}

// begin stores a new job, which its driver finds then.
func (s *Server) begin(w http.ResponseWriter, r *http.Request, j *standing.Job) error {
	j.ID, j.State, j.Created = event.NewID(), standing.JobRunning, time.Now().UTC()
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	if _, err := s.state.Create(r.Context(), standing.JobKey(j.ID), data); err != nil {
		return err
	}
	s.audit("job created", j.By, "job", j.ID, "kind", j.Kind, "chain", j.Chain+j.Filter.Chain, "filter", j.Filter, "total", j.Total, "why", j.Why)
	s.nudge()
	w.Header().Set("Location", "/v1/jobs/"+j.ID)
	rest.WriteJSON(w, http.StatusCreated, "application/json", jobView{Job: j})
	return nil
}

var noJob = rest.NewProblem(http.StatusNotFound, "there is no such job")

// job reads a job.
func (s *Server) job(ctx context.Context, id string) (*standing.Job, error) {
	if !rest.ValidName(id) {
		return nil, noJob
	}
	e, err := s.state.Get(ctx, standing.JobKey(id))
	if errors.Is(err, stream.ErrNotFound) {
		return nil, noJob
	}
	if err != nil {
		return nil, err
	}
	return standing.ReadJob(e)
}

func (s *Server) showJob(w http.ResponseWriter, r *http.Request, _ string) error {
	j, err := s.job(r.Context(), variable(r, "id"))
	if err != nil {
		return err
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", jobView{Job: j})
	return nil
}

type jobPage struct {
	Jobs []jobView `json:"jobs"`
	Next string    `json:"next,omitempty"`
}

func (s *Server) listJobs(w http.ResponseWriter, r *http.Request, _ string) error {
	return s.list(w, r, func(*standing.Job) bool { return true })
}

// list answers with a page of the jobs, the newest first.
func (s *Server) list(w http.ResponseWriter, r *http.Request, wanted func(*standing.Job) bool) error {
	q := rest.NewQuery(r)
	limit, before := q.Page()
	if before != "" && !rest.ValidName(before) {
		q.BadCursor()
	}
	if err := q.Err(); err != nil {
		return err
	}
	keys, err := s.state.Keys(r.Context(), standing.JobKeys)
	if err != nil {
		return err
	}
	// The ids sort by time.
	slices.Sort(keys)
	slices.Reverse(keys)
	page := jobPage{Jobs: []jobView{}}
	for _, key := range keys {
		id := strings.TrimPrefix(key, standing.JobKey(""))
		if before != "" && id >= before {
			continue
		}
		j, err := s.job(r.Context(), id)
		if errors.Is(err, noJob) || err == nil && !wanted(j) {
			continue
		}
		if err != nil {
			return err
		}
		if len(page.Jobs) == limit {
			page.Next = rest.Cursor(page.Jobs[limit-1].ID)
			break
		}
		page.Jobs = append(page.Jobs, jobView{Job: j})
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", page)
	return nil
}

// changeJob pauses, resumes or cancels a job. What it has in hand ends first.
func (s *Server) changeJob(w http.ResponseWriter, r *http.Request, who string) error {
	verb := variable(r, "verb")
	for {
		j, err := s.job(r.Context(), variable(r, "id"))
		if err != nil {
			return err
		}
		next := map[string]standing.JobState{
			"pause": standing.JobPaused, "resume": standing.JobRunning, "cancel": standing.JobCancelled,
		}[verb]
		if j.HasEnded() && j.State != next {
			return rest.NewProblem(http.StatusConflict, "the job is "+string(j.State)+": it cannot be changed any more")
		}
		if j.State != next {
			j.State, j.ChangedBy = next, who
			if next == standing.JobCancelled {
				j.Ended = time.Now().UTC()
			}
			err = s.store(r.Context(), j)
			if errors.Is(err, stream.ErrConflict) {
				continue // its driver has just noted how far it is
			}
			if err != nil {
				return err
			}
			s.audit("job "+verb, who, "job", j.ID)
			s.nudge()
		}
		rest.WriteJSON(w, http.StatusOK, "application/json", jobView{Job: j})
		return nil
	}
}

// store replaces what is stored of a job, if that is still what it was read from.
func (s *Server) store(ctx context.Context, j *standing.Job) error {
	data, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("job %s: %w", j.ID, err)
	}
	j.Revision, err = s.state.Update(ctx, standing.JobKey(j.ID), data, j.Revision)
	return err
}

// nudge tells the driver that there is something to do.
func (s *Server) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
