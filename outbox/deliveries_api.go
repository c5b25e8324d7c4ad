package outbox

import (
	"context"
	"errors"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
)

// deliveryPage is one page of a list.
type deliveryPage struct {
	Deliveries []*deliveryView `json:"deliveries"`
	// Next is the cursor of the next page; empty on the last one.
	Next string `json:"next,omitempty"`
}

func (a *api) listDeliveries(w http.ResponseWriter, r *http.Request, who caller) error {
	q := rest.NewQuery(r)
	f := standing.Filter{
		Subscription: q.Text("subscription"), Notification: q.Text("notification"), Type: q.Text("type"), Reason: q.Text("reason"),
		From: q.Time("from"), Until: q.Time("until"),
	}
	badFilter(&f, q.Bad)
	state := q.OneOf("state", "", pending, string(delivered), string(gone), string(dead), string(cancelled))
	limit, cursor := q.Page()
	if err := q.Err(); err != nil {
		return err
	}
	page, next, err := a.history.list(r.Context(), who.tenant, state, f, cursor, limit)
	if errors.Is(err, errCursor) {
		q.BadCursor()
		err = q.Err()
	}
	if err != nil {
		return err
	}
	if page == nil {
		page = []*deliveryView{}
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", deliveryPage{page, rest.Cursor(next)})
	return nil
}

// badFilter tells what is wrong with a filter of deliveries.
func badFilter(f *standing.Filter, say func(field, detail string)) {
	f.Bad(say)
	if f.Subscription != "" && !rest.ValidName(f.Subscription) {
		say("subscription", "want the id of a subscription")
	}
}

// oneDelivery reads which delivery a request is about: the path has its id; the query
// may name its subscription, which finds it sooner.
func oneDelivery(r *http.Request) (id, subscription string, err error) {
	q := rest.NewQuery(r)
	subscription = q.Text("subscription")
	return mux.Vars(r)["id"], subscription, q.Err()
}

func (a *api) showDelivery(w http.ResponseWriter, r *http.Request, who caller) error {
	id, subscription, err := oneDelivery(r)
	if err != nil {
		return err
	}
	f, err := a.history.find(r.Context(), who.tenant, id, subscription)
	if err != nil {
		return err
	}
	v, err := a.history.show(r.Context(), f)
	if err != nil {
		return err
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", v)
	return nil
}

func (a *api) retryDelivery(w http.ResponseWriter, r *http.Request, who caller) error {
	return a.orderDelivery(w, r, who, "delivery retried", func(ctx context.Context, id, subscription string) (*deliveryView, error) {
		return a.history.retry(ctx, who.tenant, id, subscription, who.key)
	})
}

func (a *api) cancelDelivery(w http.ResponseWriter, r *http.Request, who caller) error {
	return a.orderDelivery(w, r, who, "delivery cancelled", func(ctx context.Context, id, subscription string) (*deliveryView, error) {
		return a.history.cancel(ctx, who.tenant, id, subscription, who.key)
	})
}

func (a *api) orderDelivery(w http.ResponseWriter, r *http.Request, who caller, what string,
	do func(ctx context.Context, id, subscription string) (*deliveryView, error)) error {
	if err := who.may(accessWrite); err != nil {
		return err
	}
	id, subscription, err := oneDelivery(r)
	if err != nil {
		return err
	}
	v, err := do(r.Context(), id, subscription)
	if err != nil {
		return err
	}
	a.audit(who, what, id, "subscription", v.Subscription)
	rest.WriteJSON(w, http.StatusAccepted, "application/json", v)
	return nil
}
