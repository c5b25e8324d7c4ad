package outbox

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/stream"
)

// The states of an endpoint.
const (
	healthUnknown  = "unknown" // no attempt is known
	healthServing  = "serving" // the last attempt was accepted
	healthFailing  = "failing" // none was since
	healthDisabled = "disabled"
)

// health is how an endpoint does, by the attempts that are kept.
type health struct {
	State string `json:"state"`
	// LastDelivered is when it accepted something last.
	LastDelivered time.Time `json:"last_delivered,omitzero"`
	// FailingSince is when the first attempt failed of those after which it accepted
	// nothing any more, LastFailure the last one.
	FailingSince time.Time    `json:"failing_since,omitzero"`
	LastFailure  *attemptView `json:"last_failure,omitempty"`
	// DisabledAt is when the subscription will be disabled if this goes on.
	DisabledAt time.Time `json:"disabled_at,omitzero"`
	// Delivered and Failed are the attempts of the last 24 hours.
	Delivered uint64 `json:"delivered_24h"`
	Failed    uint64 `json:"failed_24h"`
}

// failures are the verdicts of attempts that failed.
var failures = []decision{retry, dead, gone}

func (h history) health(ctx context.Context, s *Subscription, disableAfter time.Duration, now time.Time) (*health, error) {
	v := &health{State: healthUnknown}
	last, err := h.lastOf(ctx, s, delivered)
	if err != nil {
		return nil, err
	}
	if last != nil {
		v.State, v.LastDelivered = healthServing, last.At
	}
	if v.FailingSince, err = h.failingSince(ctx, s, last); err != nil {
		return nil, err
	}
	failed, err := h.lastOf(ctx, s, failures...)
	if err != nil {
		return nil, err
	}
	if failed != nil {
		shown := viewAttempt(failed)
		v.LastFailure = &shown
	}
	if !v.FailingSince.IsZero() {
		v.State = healthFailing
		if disableAfter > 0 {
			v.DisabledAt = later(v.FailingSince, s.Updated).Add(disableAfter)
		}
	}
	if s.Disabled != nil {
		v.State, v.DisabledAt = healthDisabled, s.Disabled.Since
	}
	for into, verdicts := range map[*uint64][]decision{&v.Delivered: {delivered}, &v.Failed: failures} {
		r := stream.Range{Stream: stream.Attempts, Filters: verdictSubjects(s, verdicts...), From: now.Add(-24 * time.Hour)}
		if *into, err = h.broker.Count(ctx, r); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// verdictSubjects are where the attempts of a subscription are that came to these
// verdicts.
func verdictSubjects(s *Subscription, verdicts ...decision) (subjects []string) {
	for _, v := range verdicts {
		subjects = append(subjects, stream.AttemptSubject(s.Tenant, s.ID, string(v)))
	}
	return subjects
}

// lastOf is the newest attempt of a subscription with one of these verdicts; nil if
// there is none.
func (h history) lastOf(ctx context.Context, s *Subscription, verdicts ...decision) (last *attempt, err error) {
	for _, subject := range verdictSubjects(s, verdicts...) {
		m, err := h.broker.Last(ctx, stream.Attempts, subject)
		if errors.Is(err, stream.ErrNotFound) || err == nil && last != nil && m.Seq < last.seq {
			continue
		}
		if err != nil {
			return nil, err
		}
		if last, err = readAttempt(m); err != nil {
			return nil, err
		}
	}
	return last, nil
}

// failingSince is when the first attempt failed after the last one that was
// delivered, which is nil for none; zero if none has failed.
func (h history) failingSince(ctx context.Context, s *Subscription, last *attempt) (since time.Time, err error) {
	from := uint64(1)
	if last != nil {
		from = last.seq + 1
	}
	for _, subject := range verdictSubjects(s, failures...) {
		m, err := h.broker.Next(ctx, stream.Attempts, subject, from)
		if errors.Is(err, stream.ErrNotFound) || err == nil && !since.IsZero() && !m.Time.Before(since) {
			continue
		}
		if err != nil {
			return time.Time{}, err
		}
		since = m.Time
	}
	return since, nil
}

// fails are the subscriptions of a shard whose last attempt has failed, and since
// when none was accepted. It saves asking for every failure.
type fails struct {
	mu    sync.Mutex
	since map[string]time.Time // by id
}

func (f *fails) get(id string) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.since[id]
}

// set keeps a time; zero forgets it.
func (f *fails) set(id string, since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case since.IsZero():
		delete(f.since, id)
	case f.since == nil:
		f.since = map[string]time.Time{id: since}
	default:
		f.since[id] = since
	}
}

// warnOfHistory says if no subscription can fail for as long as its attempts are kept.
func (s *Server) warnOfHistory(ctx context.Context) error {
	kept, err := s.broker.MaxAge(ctx, stream.Attempts)
	if err == nil && s.config.DisableAfter > 0 && kept <= s.config.DisableAfter {
		s.log.Warn("attempts are not kept for longer than a subscription may fail, so none is disabled for it: raise BELAY_HISTORY",
			"kept", kept, "disable_after", s.config.DisableAfter)
	}
	return err
}

// judge disables a subscription of which every attempt has failed for too long. Who
// changes it gives it all of the time again.
func (s *shard) judge(ctx context.Context, r *result) error {
	switch {
	case r.attempt.Unsent || r.delivery.event.To != "" || s.disableAfter == 0:
		return nil
	case r.verdict.decision != retry && r.verdict.decision != dead:
		s.fails.set(r.subscription.ID, time.Time{})
		return nil
	}
	since := s.fails.get(r.subscription.ID)
	if since.IsZero() {
		last, err := s.history.lastOf(ctx, r.subscription, delivered)
		if err != nil {
			return err
		}
		if since, err = s.history.failingSince(ctx, r.subscription, last); err != nil {
			return err
		}
		s.fails.set(r.subscription.ID, since)
	}
	if since.IsZero() || r.attempt.At.Sub(later(since, r.subscription.Updated)) < s.disableAfter {
		return nil
	}
	return s.disable(ctx, r, ReasonFailing)
}

func (a *api) subscriptionHealth(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := rest.NewQuery(r).Err(); err != nil {
		return err
	}
	sub, err := a.subscriptions.get(r.Context(), who.tenant, mux.Vars(r)["id"])
	if err != nil {
		return notFound(err)
	}
	v, err := a.history.health(r.Context(), sub, a.config.DisableAfter, time.Now())
	if err != nil {
		return err
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", v)
	return nil
}
