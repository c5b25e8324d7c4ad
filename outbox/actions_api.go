package outbox

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/event"
)

// The overlap of two secrets at a rotation.
const (
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 7 * 24 * time.Hour
	// maxSecrets bounds how many are signed with: a request has a signature of each.
	maxSecrets = 5
)

func (a *api) pauseSubscription(w http.ResponseWriter, r *http.Request, who caller) error {
	return a.pause(w, r, who, true)
}

func (a *api) resumeSubscription(w http.ResponseWriter, r *http.Request, who caller) error {
	return a.pause(w, r, who, false)
}

// pause pauses a subscription, or resumes it. To resume enables it too, whatever
// disabled it.
func (a *api) pause(w http.ResponseWriter, r *http.Request, who caller, paused bool) error {
	what := map[bool]string{true: "subscription paused", false: "subscription resumed"}[paused]
	sub, err := a.change(r, who, what, func(s *Subscription) error {
		s.Paused, s.Updated = paused, time.Now().UTC()
		if !paused {
			s.Disabled = nil
		}
		return nil
	})
	if err != nil {
		return err
	}
	return who.shown(sub).write(w, http.StatusOK)
}

// rotateSubscription gives a subscription a new secret. The one before is signed
// with for a while longer.
func (a *api) rotateSubscription(w http.ResponseWriter, r *http.Request, who caller) error {
	f, err := decodeEmpty(w, r)
	if err != nil {
		return err
	}
	f.Only("secret", "overlap")
	overlap := defaultOverlap
	if f.Has("overlap") {
		overlap = time.Duration(f.duration("overlap", 0, maxOverlap))
	}
	sub, err := a.change(r, who, "subscription secret rotated", func(s *Subscription) error {
		asked := fields{&rest.Fields{Raw: f.Raw, Errs: f.Errs}}
		text := asked.secret("secret", s.Signing)
		if err := asked.Err(); err != nil {
			return err
		}
		return s.rotate(text, overlap, time.Now().UTC())
	})
	if err != nil {
		return err
	}
	return who.shownOnce(sub).write(w, http.StatusOK)
}

func (s *Subscription) rotate(text string, overlap time.Duration, now time.Time) error {
	secrets := []secret{{Text: text, Created: now}}
	for _, old := range s.secrets {
		if end := now.Add(overlap); old.Expires.IsZero() || end.Before(old.Expires) {
			old.Expires = end
		}
		if old.Expires.After(now) && old.Text != text {
			secrets = append(secrets, old)
		}
	}
	if len(secrets) > maxSecrets {
		return rest.NewProblem(http.StatusConflict, "too many secrets are in use; wait until one expires, or rotate with a shorter overlap")
	}
	s.secrets, s.Updated = secrets, now
	return nil
}

// tested is what came of a test.
type tested struct {
	// Status that the subscriber answered; 0 if it gave no answer.
	Status       int     `json:"status"`
	Reason       Reason  `json:"reason"`
	Detail       string  `json:"detail,omitempty"`
	Milliseconds float64 `json:"ms"`
	Body         string  `json:"body,omitempty"`
}

// testSubscription makes one attempt at once, signed like any other, and answers
// with what came of it. It is no delivery: it is not kept and not retried.
func (a *api) testSubscription(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := who.may(accessWrite); err != nil {
		return err
	}
	f, err := decodeEmpty(w, r)
	if err != nil {
		return err
	}
	f.Only("type", "data")
	e := &event.Event{ID: uuid.NewString(), Source: "/belay/test", Type: "belay.test", Time: time.Now().UTC(),
		ContentType: "application/json", Tenant: who.tenant, Body: []byte(`{"test":true}`)}
	if f.Has("type") {
		e.Type = f.Text("type", maxEventType)
	}
	if raw, ok := f.Raw["data"]; ok {
		e.Body = raw
	}
	if err := f.Err(); err != nil {
		return err
	}
	id := mux.Vars(r)["id"]
	sub, err := a.subscriptions.get(r.Context(), who.tenant, id)
	if err != nil {
		return notFound(err)
	}
	started := time.Now()
	d := &delivery{id: deliveryID(e, started, sub.ID), subscription: sub.ID, attempt: 1, event: e}
	got := a.client.post(r.Context(), d, sub, e.Body, started)
	answer := tested{
		Status: got.status, Reason: got.reason, Detail: got.detail,
		Milliseconds: float64(time.Since(started).Microseconds()) / 1000,
		Body:         strings.ToValidUTF8(string(got.body), "\uFFFD"),
	}
	if got.status != 0 {
		answer.Reason = reasonOf(got.status)
	}
	a.audit(who, "subscription tested", id, "host", hostOf(sub.URL), "status", got.status, "reason", answer.Reason)
	rest.WriteJSON(w, http.StatusOK, "application/json", answer)
	return nil
}

// verifySubscription asks the subscriber whether it wants webhooks.
func (a *api) verifySubscription(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := who.may(accessWrite); err != nil {
		return err
	}
	sub, err := a.subscriptions.get(r.Context(), who.tenant, mux.Vars(r)["id"])
	if err != nil {
		return notFound(err)
	}
	if err := a.client.echo(r.Context(), sub); err != nil {
		return unverified(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// unverified is the answer for a URL that did not echo.
func unverified(err error) error {
	if errors.Is(err, errEcho) {
		return rest.NewProblem(http.StatusUnprocessableEntity, "the URL could not be verified; errors tells why",
			rest.FieldProblem{Pointer: rest.Pointer("url"), Detail: err.Error()})
	}
	return err
}
