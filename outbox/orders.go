package outbox

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/stream"
)

// orderTries bounds how often an order is given again because the delivery has moved
// on meanwhile.
const orderTries = 5

var (
	errUnderWay = rest.NewProblem(http.StatusConflict, "an attempt is due or under way: ask again in a moment").With("Retry-After", "1")
	errEnded    = rest.NewProblem(http.StatusConflict, "the delivery has ended: there is nothing to cancel")
	errForgot   = rest.NewProblem(http.StatusConflict, "the notification's body is no longer kept: it cannot be sent again")
)

// retry makes the next attempt of a delivery now: of one that waits, was given up, or
// has ended.
func (h history) retry(ctx context.Context, tenant, id, subscription, by string) (*deliveryView, error) {
	return h.insist(ctx, tenant, id, subscription, func(f *found) error {
		if err := h.sendable(ctx, tenant, f.view.Subscription); err != nil {
			return err
		}
		switch {
		case f.waiting != nil:
			return h.order(ctx, f, orderRetry, by)
		case f.dead != nil:
			f.view.State = pending
			return h.redrive(ctx, f.dead, f.letter, by)
		case f.view.State == pending:
			return errUnderWay
		}
		f.view.State = pending
		return h.again(ctx, f, by)
	})
}

// sendable refuses what cannot be sent because of its subscription.
func (h history) sendable(ctx context.Context, tenant, subscription string) error {
	if strings.HasPrefix(subscription, onlyPrefix) {
		return nil // there is none
	}
	sub, err := h.subscriptions.get(ctx, tenant, subscription)
	switch {
	case errors.Is(err, stream.ErrNotFound):
		return rest.NewProblem(http.StatusConflict, "the subscription is deleted: nobody is left to be told")
	case err != nil:
		return err
	case sub.Disabled != nil:
		return rest.NewProblem(http.StatusConflict, "the subscription is disabled: resume it first")
	case sub.Paused:
		return rest.NewProblem(http.StatusConflict, "the subscription is paused: resume it first")
	}
	return nil
}

// cancel ends a delivery that waits.
func (h history) cancel(ctx context.Context, tenant, id, subscription, by string) (*deliveryView, error) {
	return h.insist(ctx, tenant, id, subscription, func(f *found) error {
		switch {
		case f.waiting != nil && f.parked.Due().IsZero(), f.waiting == nil && f.view.State == pending:
			return errUnderWay
		case f.waiting == nil:
			return errEnded
		}
		return h.order(ctx, f, orderCancel, by)
	})
}

// insist does something about a delivery as it is now, again if it was not any more.
func (h history) insist(ctx context.Context, tenant, id, subscription string, do func(*found) error) (*deliveryView, error) {
	for range orderTries {
		f, err := h.find(ctx, tenant, id, subscription)
		if err != nil {
			return nil, err
		}
		if err = do(f); !errors.Is(err, stream.ErrConflict) {
			return f.view, err
		}
	}
	return nil, errUnderWay
}

// order brings a delivery that is parked back now, with an order for the process that
// has its shard. What is due is attempted as it is.
func (h history) order(ctx context.Context, f *found, what order, by string) error {
	if f.parked.Due().IsZero() {
		return nil
	}
	d := *f.waiting
	d.order, d.by, d.cause = what, by, ""
	shard := shardOf(d.subscription, h.broker.Shards())
	f.view.Next, f.view.WaitsFor = time.Now().UTC(), ""
	return h.broker.Reschedule(ctx, d.due(shard), f.parked.Subject, time.Now(), f.parked.Seq)
}

// redrive puts a dead letter back, with all of its schedule. Every arrow is a write
// that is confirmed before the next; done again after a crash it does what is missing:
//
//	OUT: due, the attempt n+1 → letter deleted
func (h history) redrive(ctx context.Context, d *delivery, letter *stream.Stored, by string) error {
	next := *d
	next.attempt, next.base, next.reason, next.cause, next.turn = d.attempt+1, d.attempt, d.reason, "", ""
	next.order, next.by = "", by
	if err := h.put(ctx, &next); err != nil {
		return err
	}
	return h.broker.Delete(ctx, letter, true)
}

// again sends a delivery once more that has ended.
func (h history) again(ctx context.Context, f *found, by string) error {
	last := f.attempts[len(f.attempts)-1]
	e, err := h.eventOf(ctx, f)
	if errors.Is(err, stream.ErrNotFound) {
		return errForgot
	}
	if err != nil {
		return err
	}
	d := &delivery{
		id: last.Delivery, subscription: last.Subscription, attempt: last.Attempt + 1, base: last.Attempt,
		notified: last.Notified, by: by, event: e,
	}
	if len(e.Body) > maxInline {
		d.body, e.Body = last.Notified, nil
	}
	return h.put(ctx, d)
}

// put makes a delivery due, once: who puts the same attempt at the same time, or
// again after a crash, stores nothing.
func (h history) put(ctx context.Context, d *delivery) error {
	m := d.due(shardOf(d.subscription, h.broker.Shards()))
	m.ID = "again/" + d.id + "/" + strconv.Itoa(d.attempt)
	_, err := h.broker.Publish(ctx, m)
	return err
}
