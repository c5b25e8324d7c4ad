package outbox

import (
	"encoding/json"
	"fmt"

	"github.com/belay-hooks/belay/pkg/event"
)

// stored is how the bucket keeps a subscription.
type stored struct {
	Subscription
	// Headers hides that of Subscription: they are among the private ones.
	Headers struct{} `json:"headers,omitzero"`
	Private private  `json:"private"`
}

// private is what of a subscription nobody reads again.
type private struct {
	Secrets []secret          `json:"secrets"`
	Headers map[string]string `json:"headers,omitempty"`
}

func (s *Subscription) encode() ([]byte, error) {
	data, err := json.Marshal(stored{Subscription: *s, Private: private{Secrets: s.secrets, Headers: s.Headers}})
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
	s.Headers, s.secrets = kept.Private.Headers, kept.Private.Secrets
	s.revision, s.size = revision, len(data)
	for _, filter := range s.allFilters() {
		if _, err := event.ParsePattern(filter); err != nil {
			return nil, fmt.Errorf("decode the subscription %s: %w", s.ID, err)
		}
	}
	how, ok := schemes[s.Signing]
	if !ok {
		return nil, fmt.Errorf("decode the subscription %s: signing %q is not known", s.ID, s.Signing)
	}
	for _, secret := range s.secrets {
		if how.check(secret.Text) != "" {
			return nil, fmt.Errorf("decode the subscription %s: a secret is not one for %s", s.ID, s.Signing)
		}
	}
	return &s, nil
}
