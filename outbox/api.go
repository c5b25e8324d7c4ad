package outbox

import (
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/belay-hooks/belay/pkg/stream"
)

// The pages of a list.
const (
	defaultPage = 50
	maxPage     = 500
)

// api is the REST API of an outbox.
type api struct {
	*Server
	keys keys
}

// call is one request by a tenant. What it returns is written by the caller.
type call func(w http.ResponseWriter, r *http.Request, tenant string) error

// verbs are the methods of a path.
type verbs map[string]call

func (a *api) routes() http.Handler {
	r := mux.NewRouter()
	r.Handle("/v1/subscriptions", a.guard(verbs{http.MethodPost: a.createSubscription, http.MethodGet: a.listSubscriptions}))
	r.Handle("/v1/subscriptions/{id}", a.guard(verbs{http.MethodGet: a.getSubscription, http.MethodDelete: a.deleteSubscription}))
	r.Handle("/v1/notifications", a.guard(verbs{http.MethodPost: a.notify}))
	r.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		newProblem(http.StatusNotFound, "there is nothing at this path").write(w)
	})
	return r
}

// guard lets only callers with an API key through, picks the method's call and
// answers what it returns.
func (a *api) guard(v verbs) http.Handler {
	allow := strings.Join(slices.Sorted(maps.Keys(v)), ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tenant, err := a.tenant(r)
		f, ok := v[r.Method]
		switch {
		case err == nil && ok:
			err = f(w, r, tenant)
		case err == nil:
			err = newProblem(http.StatusMethodNotAllowed, "want "+allow).with("Allow", allow)
		}
		if err == nil {
			return
		}
		p, unexpected := problemOf(err)
		if unexpected {
			a.log.Error("API request failed", "method", r.Method, "path", r.URL.Path, "status", p.Status, "error", err)
		}
		p.write(w)
	})
}

// tenant is whom the request's API key belongs to.
func (a *api) tenant(r *http.Request) (string, error) {
	unauthorized := func(detail string) (string, error) {
		return "", newProblem(http.StatusUnauthorized, detail).with("WWW-Authenticate", `Bearer realm="belay"`)
	}
	if len(a.keys) == 0 {
		return unauthorized("no API key is configured: set BELAY_API_KEYS to a comma list of key or tenant=key")
	}
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || key == "" {
		return unauthorized("want the header Authorization: Bearer and an API key")
	}
	tenant, ok := a.keys.tenant(strings.TrimSpace(key))
	if !ok {
		return unauthorized("the API key is not known")
	}
	return tenant, nil
}

// created is the answer to a new subscription, the only one with its secret.
type created struct {
	*Subscription
	Secret string `json:"secret"`
}

func (a *api) createSubscription(w http.ResponseWriter, r *http.Request, tenant string) error {
	if t := mediaType(r); t != "application/json" {
		return newProblem(http.StatusUnsupportedMediaType, "want Content-Type application/json")
	}
	body, err := readBody(w, r, maxSubscriptionBody)
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
	writeJSON(w, http.StatusCreated, "application/json", created{Subscription: sub, Secret: sub.secrets[0].Reveal()})
	return nil
}

func (a *api) getSubscription(w http.ResponseWriter, r *http.Request, tenant string) error {
	sub, err := a.subscriptions.get(r.Context(), tenant, mux.Vars(r)["id"])
	if err != nil {
		return notFound(err)
	}
	writeJSON(w, http.StatusOK, "application/json", sub)
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
		return newProblem(http.StatusNotFound, "there is no such subscription")
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
	limit, after, err := paging(r)
	if err != nil {
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
		answer.Next = base64.RawURLEncoding.EncodeToString([]byte(subs[len(subs)-1].ID))
	}
	writeJSON(w, http.StatusOK, "application/json", answer)
	return nil
}

// paging reads ?limit= and ?cursor=.
func paging(r *http.Request) (limit int, after string, err error) {
	var errs []fieldProblem
	limit = defaultPage
	for name, values := range r.URL.Query() {
		switch value := values[0]; name {
		case "limit":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > maxPage {
				errs = append(errs, fieldProblem{Parameter: name, Detail: "want a number from 1 to " + strconv.Itoa(maxPage)})
			}
			limit = n
		case "cursor":
			id, err := base64.RawURLEncoding.DecodeString(value)
			if err != nil || value != "" && !validToken(string(id)) {
				errs = append(errs, fieldProblem{Parameter: name, Detail: "want the field next of the page before"})
			}
			after = string(id)
		default:
			errs = append(errs, fieldProblem{Parameter: name, Detail: "unknown parameter; known are cursor, limit"})
		}
	}
	if len(errs) > 0 {
		slices.SortFunc(errs, func(a, b fieldProblem) int { return strings.Compare(a.Parameter, b.Parameter) })
		return 0, "", newProblem(http.StatusUnprocessableEntity, "the request is not valid; errors tells what and where", errs...)
	}
	return limit, after, nil
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
	body, err := readBody(w, r, maxNotificationBody)
	if err != nil {
		return err
	}
	e, err := parseNotification(r.Header, body, tenant, time.Now())
	if err != nil {
		return err
	}
	receipt, err := a.broker.StoreEvent(r.Context(), e)
	if err != nil {
		return err
	}
	a.metrics.notifications.WithLabelValues(strconv.FormatBool(receipt.Duplicate)).Inc()
	a.log.Info("notification accepted", "notification", e.ID, "source", e.Source, "type", e.Type,
		"tenant", tenant, "bytes", len(e.Body), "duplicate", receipt.Duplicate)
	writeJSON(w, http.StatusAccepted, "application/json", accepted{ID: e.ID, Duplicate: receipt.Duplicate})
	return nil
}
