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
	r.Handle("/v1/subscriptions", a.guard(rest.Verbs{http.MethodPost: a.createSubscription, http.MethodGet: a.listSubscriptions}))
	r.Handle("/v1/subscriptions/{id}", a.guard(rest.Verbs{http.MethodGet: a.getSubscription, http.MethodDelete: a.deleteSubscription}))
	r.Handle("/v1/notifications", a.guard(rest.Verbs{http.MethodPost: a.notify}))
	r.NotFoundHandler = rest.NotFound
	return r
}

func (a *api) guard(v rest.Verbs) http.Handler {
	return rest.Guard(v, func(r *http.Request) (string, error) {
		return a.keys.Caller(r, "BELAY_API_KEYS to a comma list of key or tenant=key")
	}, a.log)
}

// created is the answer to a new subscription, the only one with its secret.
type created struct {
	*Subscription
	Secret string `json:"secret"`
}

func (a *api) createSubscription(w http.ResponseWriter, r *http.Request, tenant string) error {
	if t := rest.MediaType(r); t != "application/json" {
		return rest.NewProblem(http.StatusUnsupportedMediaType, "want Content-Type application/json")
	}
	body, err := rest.ReadBody(w, r, maxSubscriptionBody)
	if err != nil {
		return err
	}
	sub, err := newSubscription(body, tenant, a.config.addressPolicy(), time.Now())
	if err != nil {
		return err
	}
	if err := a.subscriptions.create(r.Context(), sub); err != nil {
		return err
	}
	a.log.Info("subscription created", "subscription", sub.ID, "tenant", tenant, "host", hostOf(sub.URL), "filters", sub.Filters)
	w.Header().Set("Location", "/v1/subscriptions/"+sub.ID)
	rest.WriteJSON(w, http.StatusCreated, "application/json", created{Subscription: sub, Secret: sub.secrets[0].Reveal()})
	return nil
}

func (a *api) getSubscription(w http.ResponseWriter, r *http.Request, tenant string) error {
	sub, err := a.subscriptions.get(r.Context(), tenant, mux.Vars(r)["id"])
	if err != nil {
		return notFound(err)
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", sub)
	return nil
}

func (a *api) deleteSubscription(w http.ResponseWriter, r *http.Request, tenant string) error {
	id := mux.Vars(r)["id"]
	if err := a.subscriptions.delete(r.Context(), tenant, id); err != nil {
		return notFound(err)
	}
	a.log.Info("subscription deleted", "subscription", id, "tenant", tenant)
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
	Subscriptions []*Subscription `json:"subscriptions"`
	// Next is the cursor of the next page; empty on the last one.
	Next string `json:"next,omitempty"`
}

func (a *api) listSubscriptions(w http.ResponseWriter, r *http.Request, tenant string) error {
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
	subs, more := a.subscriptions.cache.list(tenant, after, limit)
	answer := page{Subscriptions: subs}
	if answer.Subscriptions == nil {
		answer.Subscriptions = []*Subscription{}
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

func (a *api) notify(w http.ResponseWriter, r *http.Request, tenant string) error {
	body, err := rest.ReadBody(w, r, maxNotificationBody)
	if err != nil {
		return err
	}
	e, err := parseNotification(r.Header, body, tenant, time.Now())
	if err != nil {
		return err
	}
	receipt, err := a.broker.StoreEvent(r.Context(), e)
	if err != nil {
		return explain(err)
	}
	a.metrics.notifications.WithLabelValues(strconv.FormatBool(receipt.Duplicate)).Inc()
	a.log.Info("notification accepted", "notification", e.ID, "source", e.Source, "type", e.Type,
		"tenant", tenant, "bytes", len(e.Body), "duplicate", receipt.Duplicate)
	rest.WriteJSON(w, http.StatusAccepted, "application/json", accepted{ID: e.ID, Duplicate: receipt.Duplicate})
	return nil
}
