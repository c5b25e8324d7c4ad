package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/mux"
	"golang.org/x/sync/errgroup"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/stream"
)

// readJSON reads the body of a request that must be JSON.
func readJSON(w http.ResponseWriter, r *http.Request, types ...string) ([]byte, error) {
	t := rest.MediaType(r)
	for _, want := range append(types, "application/json") {
		if t == want {
			return rest.ReadBody(w, r, maxSubscriptionBody)
		}
	}
	return nil, rest.NewProblem(http.StatusUnsupportedMediaType, "want Content-Type application/json")
}

func (a *api) createSubscription(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := who.may(accessWrite); err != nil {
		return err
	}
	body, err := readJSON(w, r)
	if err != nil {
		return err
	}
	sub, err := newSubscription(body, who, a.config.addressPolicy(), time.Now())
	if err != nil {
		return err
	}
	if err := a.types.allow(sub.Filters); err != nil {
		return err
	}
	made, err := a.once(r, who, body, sub)
	if err != nil {
		return err
	}
	if made != nil { // by the same request before
		w.Header().Set("Location", "/v1/subscriptions/"+made.ID)
		return who.shownOnce(made).write(w, http.StatusCreated)
	}
	if err := a.verifyNew(r.Context(), sub, ""); err != nil {
		return err
	}
	err = a.subscriptions.create(r.Context(), sub)
	if errors.Is(err, stream.ErrConflict) { // the same request, at the same time
		if sub, err = a.subscriptions.get(r.Context(), who.tenant, sub.ID); err == nil {
			return who.shownOnce(sub).write(w, http.StatusCreated)
		}
	}
	if err != nil {
		return err
	}
	a.audit(who, "subscription created", sub.ID, "host", hostOf(sub.URL), "filters", sub.Filters)
	w.Header().Set("Location", "/v1/subscriptions/"+sub.ID)
	return who.shownOnce(sub).write(w, http.StatusCreated)
}

func (a *api) getSubscription(w http.ResponseWriter, r *http.Request, who caller) error {
	sub, err := a.subscriptions.get(r.Context(), who.tenant, mux.Vars(r)["id"])
	if err != nil {
		return notFound(err)
	}
	if tags := r.Header.Get("If-None-Match"); tags != "" && listsTag(tags, sub.tag()) {
		w.Header().Set("ETag", sub.tag())
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return who.shown(sub).write(w, http.StatusOK)
}

func (a *api) replaceSubscription(w http.ResponseWriter, r *http.Request, who caller) error {
	body, err := readJSON(w, r)
	if err != nil {
		return err
	}
	return a.edit(w, r, who, func(s *Subscription) error {
		f, err := readFields(body)
		if err != nil {
			return err
		}
		return a.replace(r.Context(), s, f, who)
	})
}

func (a *api) patchSubscription(w http.ResponseWriter, r *http.Request, who caller) error {
	body, err := readJSON(w, r, "application/merge-patch+json")
	if err != nil {
		return err
	}
	return a.edit(w, r, who, func(s *Subscription) error {
		f, err := s.patch(body, who)
		if err != nil {
			return err
		}
		return a.replace(r.Context(), s, f, who)
	})
}

func (a *api) replace(ctx context.Context, s *Subscription, f fields, who caller) error {
	before := s.URL
	if err := s.replace(f, who, a.config.addressPolicy(), time.Now()); err != nil {
		return err
	}
	if err := a.types.allow(s.Filters); err != nil {
		return err
	}
	return a.verifyNew(ctx, s, before)
}

// edit changes a subscription and answers with it.
func (a *api) edit(w http.ResponseWriter, r *http.Request, who caller, edit func(*Subscription) error) error {
	sub, err := a.change(r, who, "subscription changed", edit)
	if err != nil {
		return err
	}
	return who.shown(sub).write(w, http.StatusOK)
}

// change changes the subscription that a request names, if that is what its caller
// has read, and keeps record of it.
func (a *api) change(r *http.Request, who caller, what string, edit func(*Subscription) error) (*Subscription, error) {
	if err := who.may(accessWrite); err != nil {
		return nil, err
	}
	id := mux.Vars(r)["id"]
	sub, err := a.subscriptions.change(r.Context(), who.tenant, id, func(s *Subscription) error {
		if err := s.ifMatch(r); err != nil {
			return err
		}
		return edit(s)
	})
	if err != nil {
		return nil, notFound(err)
	}
	a.audit(who, what, id, "host", hostOf(sub.URL), "filters", sub.Filters, "paused", sub.Paused)
	return sub, nil
}

func (a *api) deleteSubscription(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := who.may(accessWrite); err != nil {
		return err
	}
	id := mux.Vars(r)["id"]
	sub, err := a.subscriptions.get(r.Context(), who.tenant, id)
	if err != nil {
		return notFound(err)
	}
	if err := sub.ifMatch(r); err != nil {
		return err
	}
	if err := a.subscriptions.delete(r.Context(), who.tenant, id); err != nil {
		return notFound(err)
	}
	a.audit(who, "subscription deleted", id)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

const (
	// maxDeleteAll bounds the work of one request.
	maxDeleteAll = 5000
	// deletesAtOnce is how many of them share the broker's flush to the disk.
	deletesAtOnce = 64
)

// deleteSubscriptions deletes all of a tenant, up to a bound a call.
func (a *api) deleteSubscriptions(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := who.may(accessWrite); err != nil {
		return err
	}
	if err := a.subscriptions.cache.waitLoaded(r.Context()); err != nil {
		return err
	}
	subs, more := a.subscriptions.cache.list(who.tenant, "", maxDeleteAll)
	group, ctx := errgroup.WithContext(r.Context())
	group.SetLimit(deletesAtOnce)
	for _, s := range subs {
		group.Go(func() error {
			err := a.subscriptions.delete(ctx, s.Tenant, s.ID)
			if errors.Is(err, stream.ErrNotFound) {
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	a.audit(who, "subscriptions deleted", "all", "count", len(subs))
	rest.WriteJSON(w, http.StatusOK, "application/json", deletedAll{Deleted: len(subs), More: more})
	return nil
}

// deletedAll is the answer to the deletion of all subscriptions.
type deletedAll struct {
	Deleted int `json:"deleted"`
	// More says that some are left: send the request again.
	More bool `json:"more"`
}

// notFound is the answer for a subscription that is not there, or another
// tenant's, and for one that others change without end.
func notFound(err error) error {
	switch {
	case errors.Is(err, stream.ErrNotFound):
		return rest.NewProblem(http.StatusNotFound, "there is no such subscription")
	case errors.Is(err, stream.ErrConflict):
		return rest.NewProblem(http.StatusConflict, "the subscription is being changed by others; send the request again")
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

// audit keeps record of a change: who, what, of which. It never holds a secret.
func (a *api) audit(who caller, what, id string, more ...any) {
	a.log.Info(what, append([]any{"id", id, "tenant", who.tenant, "by", who.key}, more...)...)
}

// decodeEmpty reads a request that may have no body.
func decodeEmpty(w http.ResponseWriter, r *http.Request) (fields, error) {
	body, err := rest.ReadBody(w, r, maxSubscriptionBody)
	if err == nil && len(body) == 0 {
		return fields{&rest.Fields{Raw: map[string]json.RawMessage{}}}, nil
	}
	if err != nil {
		return fields{}, err
	}
	return readFields(body)
}
