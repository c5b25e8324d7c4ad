package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
)

// The notifications that the outbox sends of its own accord, to the tenant that
// they concern, like any other.
const (
	// typeDisabled: a subscription is not sent to any more.
	typeDisabled = "belay.subscription.disabled"
	// typeExhausted: a delivery was given up after its last attempt.
	typeExhausted = "belay.delivery.exhausted"

	operationalSource = "/belay/outbox"
)

// disabledData is what the owner of a subscription is told when that is disabled.
// Of the URL it has the host alone: a path can hold a token, and all subscriptions
// of the tenant may get this.
type disabledData struct {
	Subscription string    `json:"subscription"`
	Host         string    `json:"host"`
	Description  string    `json:"description,omitempty"`
	Reason       Reason    `json:"reason"`
	Since        time.Time `json:"since"`
}

// exhaustedData is what the owner of a subscription is told when one of its
// deliveries is given up.
type exhaustedData struct {
	Delivery     string `json:"delivery"`
	Subscription string `json:"subscription"`
	Host         string `json:"host"`
	Description  string `json:"description,omitempty"`
	Notification string `json:"notification"`
	Source       string `json:"source"`
	Type         string `json:"type"`
	Attempts     int    `json:"attempts"`
	Reason       Reason `json:"reason"`
	Status       int    `json:"status,omitempty"`
}

// disable disables the subscription of a delivery for a reason, and tells its owner.
// It may be done again: the owner is told once.
func (s *shard) disable(ctx context.Context, r *result, reason Reason) error {
	if r.delivery.event.To != "" {
		return nil // there is no subscription
	}
	sub, err := s.subscriptions.disable(ctx, r.subscription.Tenant, r.subscription.ID, reason, r.attempt.At)
	if err != nil || sub == nil {
		return err
	}
	return s.tell(ctx, sub, typeDisabled, "disabled/"+sub.ID+"/"+sub.Disabled.Since.Format(time.RFC3339Nano), sub.Disabled.Since,
		disabledData{
			Subscription: sub.ID, Host: hostOf(sub.URL), Description: sub.Description,
			Reason: sub.Disabled.Reason, Since: sub.Disabled.Since,
		})
}

// exhausted tells the owner of a subscription that a delivery was given up, unless
// that was to tell the owner of something: it would have no end.
func (s *shard) exhausted(ctx context.Context, r *result) error {
	a := r.attempt
	if a.Unsent || r.delivery.event.To != "" || a.Source == operationalSource {
		return nil
	}
	return s.tell(ctx, r.subscription, typeExhausted, "exhausted/"+a.Delivery+"/"+strconv.Itoa(a.Attempt), a.At, exhaustedData{
		Delivery: a.Delivery, Subscription: a.Subscription, Host: hostOf(r.subscription.URL), Description: r.subscription.Description,
		Notification: a.Notification, Source: a.Source, Type: a.Type, Attempts: a.Attempt, Reason: a.Reason, Status: a.Status,
	})
}

// tell notifies the owner of a subscription, once for an id. The subscription itself
// is not told of itself: its endpoint is what is broken.
func (s *shard) tell(ctx context.Context, about *Subscription, eventType, id string, at time.Time, data any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("tell %s of %s: %w", about.Tenant, eventType, err)
	}
	_, err = s.broker.StoreEvent(ctx, &event.Event{
		ID: id, Source: operationalSource, Type: eventType, Header: http.Header{subjectHeader: {about.ID}},
		Time: at, Tenant: about.Tenant, ContentType: "application/json", Body: body,
	})
	return err
}

// subjectHeader holds the CloudEvents attribute subject: which subscription an
// operational notification is about.
const subjectHeader = attributePrefix + "Subject"

// concerns reports whether a notification of the outbox is about a subscription.
func concerns(e *event.Event, s *Subscription) bool {
	return e.Source == operationalSource && e.Header.Get(subjectHeader) == s.ID
}
