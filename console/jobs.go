package console

import (
	"cmp"
	"context"
	"net/http"

	"github.com/belay-hooks/belay/internal/jobs"
	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/stream"
)

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
		rest.WriteJSON(w, http.StatusOK, "application/json", jobs.Count{Total: j.Total, DryRun: true})
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
		Rate: int(cmp.Or(f.Integer("rate", 1, jobs.MaxRate), jobs.DefaultRate)),
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

// begin stores a new job, and answers with it.
func (s *Server) begin(w http.ResponseWriter, r *http.Request, j *standing.Job) error {
	if err := s.board.Begin(r.Context(), j); err != nil {
		return err
	}
	s.audit("job created", j.By, "job", j.ID, "kind", j.Kind, "chain", j.Chain+j.Filter.Chain, "filter", j.Filter, "total", j.Total, "why", j.Why)
	w.Header().Set("Location", "/v1/jobs/"+j.ID)
	rest.WriteJSON(w, http.StatusCreated, "application/json", jobs.View{Job: j})
	return nil
}

func (s *Server) showJob(w http.ResponseWriter, r *http.Request, _ string) error {
	j, err := s.board.Get(r.Context(), variable(r, "id"))
	if err != nil {
		return err
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", jobs.View{Job: j})
	return nil
}

func (s *Server) listJobs(w http.ResponseWriter, r *http.Request, _ string) error {
	return s.list(w, r, func(*standing.Job) bool { return true })
}

// list answers with a page of the jobs, the newest first.
func (s *Server) list(w http.ResponseWriter, r *http.Request, wanted func(*standing.Job) bool) error {
	page, err := s.board.List(r, wanted)
	if err != nil {
		return err
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", page)
	return nil
}

// changeJob pauses, resumes or cancels a job.
func (s *Server) changeJob(w http.ResponseWriter, r *http.Request, who string) error {
	verb := variable(r, "verb")
	j, changed, err := s.board.Change(r.Context(), variable(r, "id"), verb, who)
	if err != nil {
		return err
	}
	if changed {
		s.audit("job "+verb, who, "job", j.ID)
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", jobs.View{Job: j})
	return nil
}
