package outbox

import (
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

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
	v.State, v.Last, v.Detail = string(dead), m.Time, event.HeaderValue(m.Header, headerDetail)
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
