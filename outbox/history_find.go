package outbox

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// waiting is a delivery that is parked or due, and its message;
// [stream.ErrNotFound] if there is none. The subscription may be empty.
func (h history) waiting(ctx context.Context, id, subscription string) (d *delivery, m *stream.Stored, err error) {
	err = stream.ErrNotFound
	for shard := range h.broker.Shards() {
		if subscription != "" && shardOf(subscription, h.broker.Shards()) != shard {
			continue
		}
		m, err = h.broker.Last(ctx, stream.Out(shard), stream.OutAll(shard, subscriptionToken(subscription), id))
		if err == nil {
			d, err = decodeDelivery(m.Header, m.Data)
			return d, m, err
		}
		if !errors.Is(err, stream.ErrNotFound) {
			return nil, nil, err
		}
	}
	return nil, nil, err
}

// found is all that is known of a delivery.
type found struct {
	view     *deliveryView
	waiting  *delivery      // nil if it does not wait
	parked   *stream.Stored // its message
	dead     *delivery      // nil if it is no dead letter
	letter   *stream.Stored // its message
	attempts []*attempt     // without what was said
}

// errNoDelivery: there is none, or none that is known any more.
var errNoDelivery = rest.NewProblem(http.StatusNotFound, "there is no such delivery, or it is no longer kept")

// find finds a delivery of a tenant. The subscription, which may be empty, makes it
// quick where many attempts were made since. What waits or is dead is found without its
// attempts. What is due may have ended a moment ago, with its message about to go: its
// last attempt tells.
func (h history) find(ctx context.Context, tenant, id, subscription string) (*found, error) {
	created, err := timeOf(id)
	if err != nil || subscription != "" && !rest.ValidName(subscription) {
		return nil, errNoDelivery
	}
	f := &found{}
	if err := h.findStanding(ctx, f, tenant, id, subscription); err != nil || f.view != nil && !f.due() {
		return f, err
	}
	attempts, err := h.attemptsOf(ctx, tenant, id, subscription, created)
	if err != nil {
		return nil, err
	}
	if n := len(attempts); n > 0 && (f.waiting == nil || attempts[n-1].Attempt >= f.waiting.attempt) {
		return &found{attempts: attempts, view: attempts[n-1].view()}, nil
	}
	if f.view == nil {
		return nil, errNoDelivery
	}
	return f, nil
}

// due tells whether it waits for nothing but its attempt.
func (f *found) due() bool { return f.waiting != nil && f.parked.Due().IsZero() }

// findStanding looks for the delivery among those that wait and those that are dead.
func (h history) findStanding(ctx context.Context, f *found, tenant, id, subscription string) error {
	d, m, err := h.waiting(ctx, id, subscription)
	switch {
	case err == nil && d.event.Tenant == tenant:
		f.waiting, f.parked, f.view = d, m, d.view(m)
		if !f.due() {
			return nil
		}
	case err != nil && !errors.Is(err, stream.ErrNotFound):
		return err
	}
	m, err = h.broker.Last(ctx, stream.Dead, stream.DeadDelivery(tenant, subscriptionToken(subscription), id))
	if errors.Is(err, stream.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if d, err = decodeDelivery(m.Header, m.Data); err != nil {
		return err
	}
	if f.waiting != nil && f.waiting.attempt > d.attempt {
		return nil // it was put back, and the letter is about to go
	}
	// What is due and has a letter was given up, and is about to go.
	*f = found{dead: d, letter: m, view: d.letterView(m)}
	return nil
}

// beforeStored is how far the clocks of the brokers that lead NOTIFY and ATTEMPTS
// may differ.
const beforeStored = 2 * time.Second

// attemptsOf reads the records of a delivery. From the first one on it is known
// which subscription's they are.
func (h history) attemptsOf(ctx context.Context, tenant, id, subscription string, created time.Time) (all []*attempt, err error) {
	r := stream.Range{Stream: stream.Attempts, From: created.Add(-beforeStored), HeadersOnly: true}
	for {
		r.Filters = []string{stream.AttemptSubject(tenant, subscriptionToken(subscription), "*")}
		known := subscription != ""
		err := h.broker.Scan(ctx, r, func(m *stream.Stored) bool {
			if !strings.Contains(event.HeaderValue(m.Header, headerRecord), id) {
				return true
			}
			if a, err := readAttempt(m); err == nil && a.Delivery == id {
				all, subscription, r.FromSeq = append(all, a), a.Subscription, m.Seq+1
			}
			return known || len(all) == 0
		})
		if err != nil || known || len(all) == 0 {
			return all, err
		}
	}
}

// recorded tells whether the record of an attempt is stored.
func (h history) recorded(ctx context.Context, a *attempt) (bool, error) {
	created, err := timeOf(a.Delivery)
	if err != nil {
		return false, err
	}
	all, err := h.attemptsOf(ctx, a.Tenant, a.Delivery, a.Subscription, created)
	return slices.ContainsFunc(all, a.same), err
}

// attempted are the ids of the deliveries of which attempts are recorded under the
// subjects since a time.
func (h history) attempted(ctx context.Context, subjects []string, since time.Time) (map[string]bool, error) {
	ids := make(map[string]bool)
	r := stream.Range{Stream: stream.Attempts, Filters: subjects, From: since.Add(-beforeStored), HeadersOnly: true}
	err := h.broker.Scan(ctx, r, func(m *stream.Stored) bool {
		if a, err := readAttempt(m); err == nil {
			ids[a.Delivery] = true
		}
		return true
	})
	return ids, err
}

// show completes a delivery with what was said in its attempts, and its body.
func (h history) show(ctx context.Context, f *found) (*deliveryView, error) {
	if d := f.standing(); d != nil {
		var err error
		if f.attempts, err = h.attemptsOf(ctx, d.event.Tenant, d.id, d.subscription, f.view.Created); err != nil {
			return nil, err
		}
		if n := len(f.attempts); n > 0 {
			last := f.attempts[n-1]
			f.view.Last, f.view.Status, f.view.Detail = last.At, last.Status, last.Detail
		}
	}
	for _, a := range f.attempts {
		m, err := h.broker.Get(ctx, stream.Attempts, a.seq)
		if errors.Is(err, stream.ErrNotFound) {
			continue // it was too old just now
		}
		if err != nil {
			return nil, err
		}
		whole, err := readAttempt(m)
		if err != nil {
			return nil, err
		}
		f.view.History = append(f.view.History, viewAttempt(whole))
	}
	e, err := h.eventOf(ctx, f)
	switch {
	case err == nil:
		f.view.ContentType = e.ContentType
		f.view.SetBody(e.Body)
	case !errors.Is(err, stream.ErrNotFound):
		return nil, err
	}
	return f.view, nil
}

// eventOf is the notification of a delivery, with its body; [stream.ErrNotFound] if
// it is no longer kept.
func (h history) eventOf(ctx context.Context, f *found) (*event.Event, error) {
	if d := f.standing(); d != nil {
		body, err := d.payload(ctx, h.broker)
		if err != nil {
			return nil, err
		}
		whole := *d.event
		whole.Body = body
		return &whole, nil
	}
	last := f.attempts[len(f.attempts)-1]
	if last.Notified == 0 {
		return nil, stream.ErrNotFound
	}
	m, err := h.broker.Get(ctx, stream.Notify, last.Notified)
	if err != nil {
		return nil, err
	}
	e, err := h.broker.ReadEvent(ctx, m)
	if err != nil && !errors.Is(err, stream.ErrUnreadable) {
		return nil, err
	}
	if err != nil || e.ID != last.Notification || !slices.Contains([]string{last.Tenant, event.AllTenants}, e.Tenant) {
		return nil, stream.ErrNotFound
	}
	e.Tenant = last.Tenant
	return e, nil
}

// standing is the delivery that waits, or is dead; nil if it has ended.
func (f *found) standing() *delivery {
	if f.waiting != nil {
		return f.waiting
	}
	return f.dead
}
