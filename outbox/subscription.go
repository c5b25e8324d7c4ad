package outbox

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/webhook"
)

// Subscription is an outgoing registration: who wants to be told of which
// notifications, and where.
type Subscription struct {
	// ID names the subscription; ids sort by the time they were made.
	ID string `json:"id"`
	// Tenant owns it and alone sees it.
	Tenant string `json:"tenant"`
	// URL is where its deliveries are posted.
	URL string `json:"url"`
	// Description is for people.
	Description string `json:"description,omitempty"`
	// Filters are patterns of event types: deploy.*, *. One match is enough.
	Filters []string `json:"filters"`
	// Created is when it was made.
	Created time.Time `json:"created"`
	// Disabled says why nothing is sent to it any more; nil while it is enabled.
	Disabled *Disabled `json:"disabled,omitempty"`

	secrets  []webhook.Secret // newest first
	revision uint64           // of the bucket
}

// Disabled says since when and why nothing is sent to a subscription.
type Disabled struct {
	Since  time.Time `json:"since"`
	Reason Reason    `json:"reason"`
}

// newSubscriptionID returns an id whose order is the order of time.
func newSubscriptionID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make a subscription id: %w", err)
	}
	return "sub_" + strings.ReplaceAll(id.String(), "-", ""), nil
}

// onlyFor stands for the subscription that a notification does not have which is
// for one URL. All of a host share its id, and so one place in the outbox.
func onlyFor(e *event.Event) *Subscription {
	return &Subscription{ID: "to_" + digest(hostOf(e.To)), Tenant: e.Tenant, URL: e.To}
}

// key is where the subscription is kept in its bucket.
func (s *Subscription) key() string { return subscriptionKey(s.Tenant, s.ID) }

func subscriptionKey(tenant, id string) string { return tenant + "." + id }

// stored is how the bucket keeps a subscription.
type stored struct {
	Subscription
	Secrets []string `json:"secrets"`
}

func (s *Subscription) encode() ([]byte, error) {
	kept := stored{Subscription: *s}
	for _, secret := range s.secrets {
		kept.Secrets = append(kept.Secrets, secret.Reveal())
	}
	data, err := json.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("encode the subscription %s: %w", s.ID, err)
	}
	return data, nil
}

// decodeSubscription reads what encode wrote. Its errors hold no secret.
func decodeSubscription(data []byte, revision uint64) (*Subscription, error) {
	var kept stored
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, fmt.Errorf("decode a subscription: %w", err)
	}
	s := kept.Subscription
	s.revision = revision
	for _, filter := range s.Filters {
		if _, err := event.ParsePattern(filter); err != nil {
			return nil, fmt.Errorf("decode the subscription %s: %w", s.ID, err)
		}
	}
	for _, text := range kept.Secrets {
		secret, err := webhook.ParseSecret(text)
		if err != nil {
			return nil, fmt.Errorf("decode the subscription %s: %w", s.ID, err)
		}
		s.secrets = append(s.secrets, secret)
	}
	return &s, nil
}
