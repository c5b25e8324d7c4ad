package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
)

// The notifications that the outbox sends of its own accord, to the tenant that
// they concern, like any other.
const (
	// typeDisabled: a subscription is not sent to any more.
	typeDisabled = "belay.subscription.disabled"

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

// disable disables the subscription of a delivery, and tells its owner. It may be
// done again: the owner is told once.
func (s *shard) disable(ctx context.Context, r *result) error {
	if r.delivery.event.To != "" {
		return nil // there is no subscription
	}
	sub, err := s.subscriptions.disable(ctx, r.subscription.Tenant, r.subscription.ID, r.verdict.reason, r.attempt.At)
	if err != nil || sub == nil {
		return err
	}
	data, err := json.Marshal(disabledData{
		Subscription: sub.ID, Host: hostOf(sub.URL), Description: sub.Description,
		Reason: sub.Disabled.Reason, Since: sub.Disabled.Since,
	})
	if err != nil {
		return fmt.Errorf("tell that %s is disabled: %w", sub.ID, err)
	}
	_, err = s.broker.StoreEvent(ctx, &event.Event{
		ID: "disabled/" + sub.ID + "/" + sub.Disabled.Since.Format(time.RFC3339Nano), Source: operationalSource, Type: typeDisabled,
		Time: sub.Disabled.Since, Tenant: sub.Tenant, ContentType: "application/json", Body: data,
	})
	return err
}
