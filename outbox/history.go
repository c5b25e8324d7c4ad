package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// history is what became of deliveries. Nobody writes it down a second time: it is
// read from where the deliveries themselves are.
//
//	pending                       OUT        what waits, or is just attempted
//	dead                          DEAD       what was given up and can be redriven
//	delivered, gone, cancelled    ATTEMPTS   by the subjects of the verdicts
//	all                           ATTEMPTS   by the last attempt of each
type history struct {
	broker        *stream.Broker
	subscriptions *subscriptions
	log           *slog.Logger
}

// pending is the state of a delivery that has not ended. The other states are
// verdicts: delivered, gone, dead, cancelled.
const pending = "pending"

// deliveryView is the JSON form of a delivery.
type deliveryView struct {
	ID           string `json:"id"`
	State        string `json:"state"`
	Subscription string `json:"subscription"`
	Notification string `json:"notification"` // the event's id
	Source       string `json:"source"`
	Type         string `json:"type"`
	// Created is when the notification was stored.
	Created time.Time `json:"created"`
	// Attempts that were made. Last is when the last one was made, or what ended the
	// delivery without one; Reason, Status and Detail say what came of it.
	Attempts int       `json:"attempts"`
	Last     time.Time `json:"last,omitzero"`
	Reason   Reason    `json:"reason,omitempty"`
	Status   int       `json:"status,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	// Next is when a pending one is due; WaitsFor says why not earlier: schedule,
	// breaker, rate, concurrency or paused.
	Next     time.Time `json:"next,omitzero"`
	WaitsFor string    `json:"waits_for,omitempty"`

	// The rest is shown of a single one.

	History     []attemptView `json:"history,omitempty"`
	ContentType string        `json:"content_type,omitempty"`
	rest.Body
}

// attemptView is the JSON form of an attempt.
type attemptView struct {
	Attempt      int        `json:"attempt"`
	At           time.Time  `json:"at"`
	Milliseconds float64    `json:"ms"`
	Verdict      decision   `json:"verdict"`
	Reason       Reason     `json:"reason"`
	Detail       string     `json:"detail,omitempty"`
	Next         *time.Time `json:"next,omitempty"`
	Unsent       bool       `json:"unsent,omitempty"`
	By           string     `json:"by,omitempty"`
	exchange
}

func viewAttempt(a *attempt) attemptView {
	return attemptView{
		Attempt: a.Attempt, At: a.At, Milliseconds: a.Milliseconds, Verdict: a.Verdict, Reason: a.Reason,
		Detail: a.Detail, Next: a.Next, Unsent: a.Unsent, By: a.By, exchange: a.exchange,
	}
}

// newView is the delivery of a notification, by its id.
func newView(id, subscription, notification, source, eventType string) *deliveryView {
	v := &deliveryView{ID: id, Subscription: subscription, Notification: notification, Source: source, Type: eventType}
	v.Created, _ = timeOf(id) // it was made by deliveryID
	return v
}

// view is the delivery as its last attempt has left it.
func (a *attempt) view() *deliveryView {
	v := newView(a.Delivery, a.Subscription, a.Notification, a.Source, a.Type)
	v.State, v.Attempts, v.Last = string(a.Verdict), a.Attempt, a.At
	v.Reason, v.Status, v.Detail = a.Reason, a.Status, a.Detail
	if a.Unsent {
		v.Attempts--
	}
	if a.Verdict == retry {
		v.State = pending
	}
	return v
}

// view is a delivery that waits, or is a dead letter.
func (d *delivery) view(m *stream.Stored) *deliveryView {
	v := newView(d.id, d.subscription, d.event.ID, d.event.Source, d.event.Type)
	v.State, v.Attempts, v.Reason = pending, d.attempt-1, d.reason
	v.Next, v.WaitsFor = m.Due(), string(d.cause)
	if v.WaitsFor == "" && !v.Next.IsZero() {
		v.WaitsFor = "schedule"
	}
	return v
}

// letterView is a dead letter.
func (d *delivery) letterView(m *stream.Stored) *deliveryView {
	v := d.view(m)
	v.State, v.Last, v.Detail = string(dead), m.Time, headerValue(m.Header, headerDetail)
	if d.reason != ReasonDisabled && d.reason != ReasonExpired {
		v.Attempts = d.attempt
	}
	return v
}

// selects reports whether a filter selects a delivery, by what it is about and by
// when it ended, or was made if it has not.
func selects(f standing.Filter, v *deliveryView) bool {
	at := v.Last
	if v.State == pending {
		at = v.Created
	}
	switch {
	case f.Subscription != "" && f.Subscription != v.Subscription,
		f.Notification != "" && f.Notification != v.Notification,
		f.Reason != "" && f.Reason != string(v.Reason),
		!f.From.IsZero() && at.Before(f.From), !f.Until.IsZero() && !at.Before(f.Until):
		return false
	}
	return f.Event(&event.Event{Type: v.Type})
}

// subscriptionToken stands for all subscriptions where none is named.
func subscriptionToken(id string) string {
	if id == "" {
		return "*"
	}
	return id
}

// list is a page of a tenant's deliveries in a state, or of all that were attempted
// where that is empty, the newest first, and the cursor of the next page. A page may
// be shorter than the limit, or empty, though another one follows.
func (h history) list(ctx context.Context, tenant, state string, f standing.Filter, cursor string, limit int) (page []*deliveryView, next string, err error) {
	if state == pending {
		return h.listPending(ctx, tenant, f, cursor, limit)
	}
	before := uint64(0)
	if cursor != "" {
		if before, err = strconv.ParseUint(cursor, 10, 64); err != nil {
			return nil, "", errCursor
		}
	}
	var at uint64
	switch state {
	case string(dead):
		page, at, err = stream.Newest(ctx, h.broker, letterRange(tenant, f), before, limit, h.letterReader(f))
	default:
		page, at, err = h.listEnded(ctx, tenant, state, f, before, limit)
	}
	return page, number(at), err
}

// errCursor: the cursor is not one that a list has given.
var errCursor = errors.New("the cursor is unknown")

// letterRange selects the dead letters that a filter may select.
func letterRange(tenant string, f standing.Filter) stream.Range {
	return stream.Range{
		Stream: stream.Dead, Filters: []string{stream.DeadDelivery(tenant, subscriptionToken(f.Subscription), "*")},
		From: f.From, HeadersOnly: true,
	}
}

// letterReader reads the dead letters that a filter selects.
func (h history) letterReader(f standing.Filter) func(m *stream.Stored) (*deliveryView, bool) {
	return func(m *stream.Stored) (*deliveryView, bool) {
		d, err := decodeDelivery(m.Header, nil)
		if err != nil {
			h.log.Warn("a dead letter cannot be read and is left out", "seq", m.Seq, "error", err)
			return nil, false
		}
		v := d.letterView(m)
		return v, selects(f, v)
	}
}

// listEnded reads verdicts. Of a delivery that was attempted several times the last
// one counts, so of the others those are left out that are not the last.
func (h history) listEnded(ctx context.Context, tenant, state string, f standing.Filter, before uint64, limit int) (page []*deliveryView, next uint64, err error) {
	verdict := state
	if verdict == "" {
		verdict = "*"
	}
	r := stream.Range{
		Stream: stream.Attempts, Filters: []string{stream.AttemptSubject(tenant, subscriptionToken(f.Subscription), verdict)},
		From: f.From, HeadersOnly: true,
	}
	all, next, err := stream.Newest(ctx, h.broker, r, before, limit, func(m *stream.Stored) (*deliveryView, bool) {
		a, err := readAttempt(m)
		if err != nil {
			h.log.Warn("a record cannot be read and is left out", "error", err)
			return nil, false
		}
		v := a.view()
		return v, selects(f, v)
	})
	if err != nil {
		return nil, 0, err
	}
	seen := make(map[string]bool)
	for _, v := range all {
		if seen[v.ID] {
			continue
		}
		seen[v.ID] = true
		last, err := h.isLast(ctx, tenant, v)
		if err != nil {
			return nil, 0, err
		}
		if last {
			page = append(page, v)
		}
	}
	return page, next, nil
}

// isLast reports whether a delivery still is as an attempt has left it, and
// completes what is shown of one that waits.
func (h history) isLast(ctx context.Context, tenant string, v *deliveryView) (bool, error) {
	switch v.State {
	case pending:
		d, m, err := h.waiting(ctx, v.ID, v.Subscription)
		if errors.Is(err, stream.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		now := d.view(m)
		v.Next, v.WaitsFor = now.Next, now.WaitsFor
		return d.attempt == v.Attempts+1, nil
	case string(dead):
		_, err := h.broker.Last(ctx, stream.Dead, stream.DeadDelivery(tenant, v.Subscription, v.ID))
		if errors.Is(err, stream.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	}
	return true, nil
}

// mostLooked bounds how many deliveries are looked at for one page of those that
// wait.
const mostLooked = 5000

// listPending reads the OUT streams, shard by shard, the one that waits for longest
// first. The broker hands them out one by one.
func (h history) listPending(ctx context.Context, tenant string, f standing.Filter, cursor string, limit int) (page []*deliveryView, next string, err error) {
	shard, seq := 0, uint64(1)
	if cursor != "" {
		if _, err := fmt.Sscanf(cursor, "%d.%d", &shard, &seq); err != nil || shard < 0 {
			return nil, "", errCursor
		}
	}
	looked := 0
	for ; shard < h.broker.Shards(); shard, seq = shard+1, 1 {
		if f.Subscription != "" && shardOf(f.Subscription, h.broker.Shards()) != shard {
			continue
		}
		for ; ; seq++ {
			m, err := h.broker.Next(ctx, stream.Out(shard), stream.OutAll(shard, subscriptionToken(f.Subscription), "*"), seq)
			if errors.Is(err, stream.ErrNotFound) {
				break
			}
			if err != nil {
				return nil, "", err
			}
			if seq = m.Seq; len(page) == limit || looked == mostLooked {
				return page, fmt.Sprintf("%d.%d", shard, seq), nil
			}
			looked++
			d, err := decodeDelivery(m.Header, m.Data)
			if err != nil || d.event.Tenant != tenant {
				continue
			}
			if v := d.view(m); selects(f, v) {
				page = append(page, v)
			}
		}
	}
	return page, "", nil
}

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
// quick where many attempts were made since.
func (h history) find(ctx context.Context, tenant, id, subscription string) (*found, error) {
	created, err := timeOf(id)
	if err != nil || subscription != "" && !rest.ValidName(subscription) {
		return nil, errNoDelivery
	}
	f := &found{}
	if err := h.findStanding(ctx, f, tenant, id, subscription); err != nil {
		return nil, err
	}
	if f.view != nil {
		subscription = f.view.Subscription
	}
	if f.attempts, err = h.attemptsOf(ctx, tenant, id, subscription, created); err != nil {
		return nil, err
	}
	if n := len(f.attempts); f.view == nil && n > 0 {
		f.view = f.attempts[n-1].view()
	}
	if f.view == nil {
		return nil, errNoDelivery
	}
	if n := len(f.attempts); n > 0 && f.standing() != nil {
		last := f.attempts[n-1]
		f.view.Last, f.view.Status, f.view.Detail = last.At, last.Status, last.Detail
	}
	return f, nil
}

// findStanding looks for the delivery among those that wait and those that are dead.
func (h history) findStanding(ctx context.Context, f *found, tenant, id, subscription string) error {
	d, m, err := h.waiting(ctx, id, subscription)
	switch {
	case err == nil && d.event.Tenant == tenant:
		f.waiting, f.parked, f.view = d, m, d.view(m)
		return nil
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
	f.dead, f.letter, f.view = d, m, d.letterView(m)
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
			if !strings.Contains(headerValue(m.Header, headerRecord), id) {
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

// show completes a delivery with what was said in its attempts, and its body.
func (h history) show(ctx context.Context, f *found) (*deliveryView, error) {
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
