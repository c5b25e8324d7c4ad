package outbox

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/belay-hooks/belay/internal/seal"
	"github.com/belay-hooks/belay/pkg/event"
)

// errSealed: what is private of a stored subscription cannot be decrypted.
var errSealed = errors.New("its secrets cannot be decrypted: give the outbox the keyset that they were encrypted with (BELAY_KEYSET)")

// vault encrypts what is private of a subscription. Without a box it stays in the
// clear.
type vault struct{ box *seal.Box }

// stored is how the bucket keeps a subscription.
type stored struct {
	Subscription
	// Headers hides that of Subscription: they are among the private ones.
	Headers struct{} `json:"headers,omitzero"`
	// One of these: Private in the clear, Sealed for the subscription's key.
	Private *private `json:"private,omitempty"`
	Sealed  []byte   `json:"sealed,omitempty"`
}

// private is what of a subscription nobody reads again.
type private struct {
	Secrets []secret          `json:"secrets"`
	Headers map[string]string `json:"headers,omitempty"`
}

func (v vault) encode(s *Subscription) ([]byte, error) {
	kept := stored{Subscription: *s, Private: &private{Secrets: s.secrets, Headers: s.Headers}}
	if v.box != nil {
		text, err := json.Marshal(kept.Private)
		if err != nil {
			return nil, fmt.Errorf("encode the subscription %s: %w", s.ID, err)
		}
		if kept.Sealed, err = v.box.Seal(text, s.key()); err != nil {
			return nil, fmt.Errorf("encode the subscription %s: %w", s.ID, err)
		}
		kept.Private = nil
	}
	data, err := json.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("encode the subscription %s: %w", s.ID, err)
	}
	return data, nil
}

// decode reads what encode wrote, or what it wrote without a box. Its errors hold
// no secret. It fails with [errSealed].
func (v vault) decode(data []byte, revision uint64) (*Subscription, error) {
	var kept stored
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, fmt.Errorf("decode a subscription: %w", err)
	}
	s := kept.Subscription
	hidden, err := v.open(&kept)
	if err != nil {
		return nil, fmt.Errorf("decode the subscription %s: %w", s.ID, err)
	}
	s.Headers, s.secrets = hidden.Headers, hidden.Secrets
	s.revision, s.size = revision, len(data)
	if err := s.sane(); err != nil {
		return nil, fmt.Errorf("decode the subscription %s: %w", s.ID, err)
	}
	return &s, nil
}

func (v vault) open(kept *stored) (*private, error) {
	switch {
	case kept.Sealed == nil && kept.Private == nil:
		return nil, errors.New("it has no secrets")
	case kept.Sealed == nil:
		return kept.Private, nil
	case v.box == nil:
		return nil, errSealed
	}
	text, err := v.box.Open(kept.Sealed, kept.key())
	if err != nil {
		return nil, errSealed
	}
	var hidden private
	if err := json.Unmarshal(text, &hidden); err != nil {
		return nil, errors.New("what is decrypted is no JSON object")
	}
	return &hidden, nil
}

// sane says what would be found out only when a notification comes.
func (s *Subscription) sane() error {
	for _, filter := range s.allFilters() {
		if _, err := event.ParsePattern(filter); err != nil {
			return err
		}
	}
	how, ok := schemes[s.Signing]
	if !ok {
		return fmt.Errorf("signing %q is not known", s.Signing)
	}
	if len(s.secrets) == 0 {
		return errors.New("it has no secret")
	}
	for _, secret := range s.secrets {
		if how.check(secret.Text) != "" {
			return fmt.Errorf("a secret is not one for %s", s.Signing)
		}
	}
	return nil
}
