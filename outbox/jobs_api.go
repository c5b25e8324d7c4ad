package outbox

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/belay-hooks/belay/internal/jobs"
	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/stream"
)

// maxWhy bounds the reason that somebody gives, in bytes.
const maxWhy = 1024

// createJob begins a job over many deliveries: it puts back what was given up
// (redeliver), or sends a subscription what it has missed (recover).
func (a *api) createJob(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := who.may(accessWrite); err != nil {
		return err
	}
	f, err := decodeEmpty(w, r)
	if err != nil {
		return err
	}
	j, dry, err := newJob(f, who)
	if err != nil {
		return err
	}
	measure := a.measureLetters
	if j.Kind == standing.JobRecover {
		measure = a.measureMissed
	}
	if err := measure(r.Context(), j); err != nil {
		return err
	}
	if dry {
		rest.WriteJSON(w, http.StatusOK, "application/json", jobs.Count{Total: j.Total, DryRun: true})
		return nil
	}
	if err := a.board.Begin(r.Context(), j); err != nil {
		return err
	}
	a.audit(who, "job created", j.ID, "kind", j.Kind, "filter", j.Filter, "total", j.Total, "why", j.Why)
	w.Header().Set("Location", "/v1/jobs/"+j.ID)
	rest.WriteJSON(w, http.StatusCreated, "application/json", jobs.View{Job: j})
	return nil
}

// newJob reads a request for a job.
func newJob(f fields, who caller) (j *standing.Job, dry bool, err error) {
	f.Only("dry_run", "filter", "kind", "rate", "why")
	j = &standing.Job{
		Kind: oneOf(f, "kind", standing.JobRedeliver, standing.JobRecover), Tenant: who.tenant, By: who.key, Why: f.Text("why", maxWhy),
		Rate: int(cmp.Or(f.Integer("rate", 1, jobs.MaxRate), jobs.DefaultRate)),
	}
	if !f.Has("kind") {
		f.Bad("required: want redeliver or recover", "kind")
	}
	dry = f.Bool("dry_run")
	if j.Filter, err = deliveryFilter(f); err != nil {
		return nil, false, err
	}
	if j.Kind == standing.JobRecover {
		switch c := j.Filter; {
		case c.Subscription == "":
			f.Bad("required: want the subscription that has missed something", "filter", "subscription")
		case c.From.IsZero():
			f.Bad("required: want the time since when it has", "filter", "from")
		case c != standing.Filter{Subscription: c.Subscription, From: c.From}:
			f.Bad("a recovery is of all that a subscription has missed since a time: want subscription and from only", "filter")
		}
	}
	return j, dry, f.Err()
}

// deliveryFilter reads the field filter.
func deliveryFilter(f fields) (c standing.Filter, err error) {
	inner, err := f.Object("filter")
	if inner == nil {
		return c, err
	}
	inner.Only("from", "notification", "reason", "subscription", "type", "until")
	c = standing.Filter{
		Subscription: inner.Text("subscription", maxEventID), Notification: inner.Text("notification", maxEventID),
		Type: inner.Text("type", maxEventType), Reason: inner.Text("reason", maxEventType),
		From: inner.Time("from"), Until: inner.Time("until"),
	}
	badFilter(&c, func(field, detail string) { inner.Bad(detail, "filter", field) })
	return c, inner.Err()
}

// measureLetters finds the last dead letter of a job, and how many there are.
func (a *api) measureLetters(ctx context.Context, j *standing.Job) (err error) {
	if _, j.Border, err = a.broker.Bounds(ctx, stream.Dead); err == nil {
		j.Total, err = a.history.countLetters(ctx, j)
	}
	return err
}

// measureMissed finds the last notification of a job, and how many there are to be
// looked at. What is not fanned out yet is not missed.
func (a *api) measureMissed(ctx context.Context, j *standing.Job) error {
	if err := a.history.sendable(ctx, j.Tenant, j.Filter.Subscription); err != nil {
		return err
	}
	fan, err := a.broker.Consumer(ctx, stream.Notify, fanoutName)
	if err != nil {
		return err
	}
	at, err := fan.Standing(ctx)
	if err != nil {
		return err
	}
	j.Border = at.Floor
	if j.Total, err = a.broker.Count(ctx, notifications(j.Tenant, 0, j.Filter.From)); err != nil {
		return err
	}
	return a.withinHistory(ctx, j)
}

// withinHistory refuses a recovery that goes back to notifications of which it is not
// known any more whether they were delivered: they would be sent again.
func (a *api) withinHistory(ctx context.Context, j *standing.Job) error {
	kept, err := a.broker.MaxAge(ctx, stream.Attempts)
	if err != nil || kept == 0 || time.Since(j.Filter.From) <= kept {
		return err
	}
	known, err := a.broker.Count(ctx, notifications(j.Tenant, 0, time.Now().Add(-kept)))
	if err != nil || known >= j.Total {
		return err
	}
	return rest.Invalid(rest.FieldProblem{
		Pointer: rest.Pointer("filter", "from"), Detail: "attempts are kept for " + kept.String() + " only: want a later time",
	})
}

// theirs reports whether a job is of the caller's tenant. Those of the console are of
// none.
func (c caller) theirs(j *standing.Job) bool { return j.Tenant == c.tenant }

func (a *api) listJobs(w http.ResponseWriter, r *http.Request, who caller) error {
	page, err := a.board.List(r, who.theirs)
	if err != nil {
		return err
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", page)
	return nil
}

// job is the one that a request names.
func (a *api) job(r *http.Request, who caller) (*standing.Job, error) {
	j, err := a.board.Get(r.Context(), mux.Vars(r)["id"])
	if err == nil && !who.theirs(j) {
		err = jobs.ErrNone
	}
	return j, err
}

func (a *api) showJob(w http.ResponseWriter, r *http.Request, who caller) error {
	j, err := a.job(r, who)
	if err != nil {
		return err
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", jobs.View{Job: j})
	return nil
}

// changeJob pauses, resumes or cancels a job.
func (a *api) changeJob(verb string) func(http.ResponseWriter, *http.Request, caller) error {
	return func(w http.ResponseWriter, r *http.Request, who caller) error {
		if err := who.may(accessWrite); err != nil {
			return err
		}
		j, err := a.job(r, who)
		if err != nil {
			return err
		}
		j, changed, err := a.board.Change(r.Context(), j.ID, verb, who.key)
		if err != nil {
			return err
		}
		if changed {
			a.audit(who, "job "+verb, j.ID)
		}
		rest.WriteJSON(w, http.StatusOK, "application/json", jobs.View{Job: j})
		return nil
	}
}
