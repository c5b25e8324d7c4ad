package outbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/stream"
)

// subscriptions are all subscriptions: the bucket that keeps them, and the
// cache that this process reads them from.
type subscriptions struct {
	bucket *stream.Bucket
	cache  *cache
	vault  vault
	// most bounds what all of them take, in stored bytes.
	most int
}

// create stores a new subscription and returns once this process will match it.
func (s *subscriptions) create(ctx context.Context, sub *Subscription) error {
	if s.cache.bytes() > s.most {
		return rest.NewProblem(http.StatusInsufficientStorage, "there is no room for more subscriptions: the operator can raise BELAY_MAX_SUBSCRIPTION_BYTES")
	}
	data, err := s.vault.encode(sub)
	if err != nil {
		return err
	}
	revision, err := s.bucket.Create(ctx, sub.key(), data)
	if err != nil {
		return err
	}
	sub.revision = revision
	return s.seen(ctx, func(c *contents) bool {
		// Somebody may have deleted it since.
		have := c.byKey[sub.key()]
		return have != nil && have.revision >= revision
	})
}

// get returns a subscription; [stream.ErrNotFound] if there is none. The bucket
// is asked if the cache has none: another process may just have made it.
func (s *subscriptions) get(ctx context.Context, tenant, id string) (*Subscription, error) {
	key := subscriptionKey(tenant, id)
	if sub, ok := s.cache.get(key); ok {
		return sub, nil
	}
	if !rest.ValidName(id) { // as an id it would reach beyond its tenant
		return nil, fmt.Errorf("subscription %q: %w", id, stream.ErrNotFound)
	}
	entry, err := s.bucket.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return s.vault.decode(entry.Value, entry.Revision)
}

// changeTries bounds how often a change is begun again because somebody else
// changed the subscription meanwhile.
const changeTries = 10

// change edits a subscription, and returns it as it is stored once this process
// matches it; [stream.ErrNotFound] if there is none. The edit may be called several
// times, each time with what is stored by then.
func (s *subscriptions) change(ctx context.Context, tenant, id string, edit func(*Subscription) error) (*Subscription, error) {
	if !rest.ValidName(id) {
		return nil, fmt.Errorf("subscription %q: %w", id, stream.ErrNotFound)
	}
	for tries := 1; ; tries++ {
		entry, err := s.bucket.Get(ctx, subscriptionKey(tenant, id))
		if err != nil {
			return nil, err
		}
		sub, err := s.vault.decode(entry.Value, entry.Revision)
		if err != nil {
			return nil, err
		}
		if err := edit(sub); err != nil {
			return nil, err
		}
		data, err := s.vault.encode(sub)
		if err != nil {
			return nil, err
		}
		revision, err := s.bucket.Update(ctx, entry.Key, data, entry.Revision)
		if errors.Is(err, stream.ErrConflict) && tries < changeTries {
			continue
		}
		if err != nil {
			return nil, err
		}
		sub.revision = revision
		return sub, s.seen(ctx, func(c *contents) bool {
			have := c.byKey[entry.Key]
			return have == nil || have.revision >= revision
		})
	}
}

// delete removes a subscription and returns once this process does not match it
// any more; [stream.ErrNotFound] if there is none.
func (s *subscriptions) delete(ctx context.Context, tenant, id string) error {
	if _, err := s.get(ctx, tenant, id); err != nil {
		return err
	}
	key := subscriptionKey(tenant, id)
	if err := s.bucket.Delete(ctx, key); err != nil {
		return err
	}
	return s.seen(ctx, func(c *contents) bool { return c.byKey[key] == nil })
}

// seenWithin bounds how long a caller waits for the cache. A watch that lost its
// broker can be behind for longer; then the caller is told to ask again.
const seenWithin = 5 * time.Second

func (s *subscriptions) seen(ctx context.Context, holds func(c *contents) bool) error {
	ctx, cancel := context.WithTimeout(ctx, seenWithin)
	defer cancel()
	if err := s.cache.wait(ctx, holds); err != nil {
		return fmt.Errorf("the change is stored but not yet seen here: %w: %w", stream.ErrUnavailable, err)
	}
	return nil
}

// disable ends the sending to a subscription, and returns it as it is then; nil if
// it is gone. One that was disabled before is left as it is.
func (s *subscriptions) disable(ctx context.Context, tenant, id string, reason Reason, now time.Time) (*Subscription, error) {
	for {
		entry, err := s.bucket.Get(ctx, subscriptionKey(tenant, id))
		if errors.Is(err, stream.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		sub, err := s.vault.decode(entry.Value, entry.Revision)
		if err != nil || sub.Disabled != nil {
			return sub, err
		}
		sub.Disabled = &Disabled{Since: now.UTC(), Reason: reason}
		data, err := s.vault.encode(sub)
		if err != nil {
			return nil, err
		}
		_, err = s.bucket.Update(ctx, entry.Key, data, entry.Revision)
		if errors.Is(err, stream.ErrConflict) {
			continue // somebody changed it meanwhile: read what they wrote
		}
		return sub, err
	}
}
