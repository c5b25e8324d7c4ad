package outbox

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/stream"
)

// api is the REST API of an outbox.
type api struct {
	*Server
	keys rest.Keys
}

func (a *api) routes() http.Handler {
	r := mux.NewRouter()
	r.Handle("/v1/subscriptions", a.guard(verbs{http.MethodPost: a.createSubscription, http.MethodGet: a.listSubscriptions}))
	r.Handle("/v1/subscriptions/{id}", a.guard(verbs{http.MethodGet: a.getSubscription, http.MethodDelete: a.deleteSubscription}))
	r.Handle("/v1/notifications", a.guard(verbs{http.MethodPost: a.notify}))
	r.NotFoundHandler = rest.NotFound
	return r
}

// verbs are the methods of a path.
type verbs = rest.VerbsOf[caller]

func (a *api) guard(v verbs) http.Handler { return rest.Guard(v, a.caller, a.log) }

// shown is how a subscription is shown to somebody: without the values of headers,
// and without what is the operator's.
type shown struct {
	Subscription
	// Secret is shown when it is made, and not again.
	Secret string `json:"secret,omitempty"`
	// Secrets says of each that is in use since when, and how long still.
	Secrets []shownSecret `json:"secrets"`
}

type shownSecret struct {
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	// PublicKey is what signatures are verified with that are asymmetric.
	PublicKey string `json:"public_key,omitempty"`
}

func (c caller) shown(s *Subscription) *shown {
	v := &shown{Subscription: *s, Secrets: []shownSecret{}}
	if len(s.Headers) > 0 {
		v.Headers = make(map[string]string, len(s.Headers))
		for name := range s.Headers {
			v.Headers[name] = hidden
		}
	}
	if c.access != accessOperator {
		v.PrivateFilters = nil
	}
	for _, secret := range s.secrets {
		one := shownSecret{Created: secret.Created, Expires: secret.Expires}
		if public := schemes[s.Signing].public; public != nil {
			one.PublicKey = public(secret.Text)
		}
		v.Secrets = append(v.Secrets, one)
	}
	return v
}

// shownOnce is the same, with the secret that was just made.
func (c caller) shownOnce(s *Subscription) *shown {
	v := c.shown(s)
	v.Secret = s.secrets[0].Text
	return v
}

func (a *api) createSubscription(w http.ResponseWriter, r *http.Request, who caller) error {
	if t := rest.MediaType(r); t != "application/json" {
		return rest.NewProblem(http.StatusUnsupportedMediaType, "want Content-Type application/json")
	}
	body, err := rest.ReadBody(w, r, maxSubscriptionBody)
	if err != nil {
		return err
	}
	sub, err := newSubscription(body, who, a.config.addressPolicy(), time.Now())
	if err != nil {
		return err
	}
	if err := a.subscriptions.create(r.Context(), sub); err != nil {
		return err
	}
	a.log.Info("subscription created", "subscription", sub.ID, "tenant", who.tenant, "host", hostOf(sub.URL), "filters", sub.Filters)
	w.Header().Set("Location", "/v1/subscriptions/"+sub.ID)
	rest.WriteJSON(w, http.StatusCreated, "application/json", who.shownOnce(sub))
	return nil
}

func (a *api) getSubscription(w http.ResponseWriter, r *http.Request, who caller) error {
	sub, err := a.subscriptions.get(r.Context(), who.tenant, mux.Vars(r)["id"])
	if err != nil {
		return notFound(err)
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", who.shown(sub))
	return nil
}

func (a *api) deleteSubscription(w http.ResponseWriter, r *http.Request, who caller) error {
	id := mux.Vars(r)["id"]
	if err := a.subscriptions.delete(r.Context(), who.tenant, id); err != nil {
		return notFound(err)
	}
	a.log.Info("subscription deleted", "subscription", id, "tenant", who.tenant)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// notFound is the answer for a subscription that is not there, or another
// tenant's.
func notFound(err error) error {
	if errors.Is(err, stream.ErrNotFound) {
		return rest.NewProblem(http.StatusNotFound, "there is no such subscription")
	}
	return err
}

// page is one page of a list.
type page struct {
	Subscriptions []*shown `json:"subscriptions"`
	// Next is the cursor of the next page; empty on the last one.
	Next string `json:"next,omitempty"`
}

func (a *api) listSubscriptions(w http.ResponseWriter, r *http.Request, who caller) error {
	q := rest.NewQuery(r)
	limit, after := q.Page()
	if after != "" && !rest.ValidName(after) {
		q.BadCursor()
	}
	if err := q.Err(); err != nil {
		return err
	}
	if err := a.subscriptions.cache.waitLoaded(r.Context()); err != nil {
		return err
	}
	subs, more := a.subscriptions.cache.list(who.tenant, after, limit)
	answer := page{Subscriptions: []*shown{}}
	for _, s := range subs {
		answer.Subscriptions = append(answer.Subscriptions, who.shown(s))
	}
	if more {
		answer.Next = rest.Cursor(subs[len(subs)-1].ID)
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", answer)
	return nil
}

// accepted is the answer to a notification.
type accepted struct {
	// ID is the event's.
	ID string `json:"id"`
	// Duplicate says that an event of this source and id was accepted before,
	// within the broker's window; nothing is sent again.
	Duplicate bool `json:"duplicate"`
}

func (a *api) notify(w http.ResponseWriter, r *http.Request, who caller) error {
	body, err := rest.ReadBody(w, r, maxNotificationBody)
	if err != nil {
		return err
	}
	e, err := parseNotification(r.Header, body, who.tenant, time.Now())
	if err != nil {
		return err
	}
	if err := a.backlog.refusal(); err != nil {
		return err
	}
	receipt, err := a.broker.StoreEvent(r.Context(), e)
	if err != nil {
		return explain(err)
	}
	a.metrics.notifications.WithLabelValues(strconv.FormatBool(receipt.Duplicate)).Inc()
	a.log.Info("notification accepted", "notification", e.ID, "source", e.Source, "type", e.Type,
		"tenant", who.tenant, "bytes", len(e.Body), "duplicate", receipt.Duplicate)
	rest.WriteJSON(w, http.StatusAccepted, "application/json", accepted{ID: e.ID, Duplicate: receipt.Duplicate})
	return nil
}
