package outbox

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// few is up to how many deliveries of a notification are written to a shard each for
// itself, without a cursor: a batch costs the broker a temporary store, however small
// it is.
const (
	few = 8
	// fewOnce is how many there are at most now where there were few a moment ago.
	fewOnce = 4 * few
)

// writeFew stores a few deliveries.
func (f *fanout) writeFew(ctx context.Context, h *stream.Held, e *event.Event, shard int, subs []*Subscription) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range subs {
		group.Go(func() error {
			_, err := f.broker.Publish(ctx, newDelivery(e, placeOf(h), s).due(shard))
			return err
		})
	}
	return group.Wait()
}

// unwritten are those subscriptions whose delivery nobody has written. What has
// become of one that somebody has is known for as long as the history is kept: it
// waits, or is a dead letter, or was attempted. That is asked for only if somebody
// was handed the notification before, and has died since, or may have.
func (f *fanout) unwritten(ctx context.Context, h *stream.Held, e *event.Event, subs []*Subscription) (left []*Subscription, err error) {
	if len(subs) > fewOnce || h.Deliveries == 1 && !h.Doubtful {
		return subs, nil
	}
	for _, s := range subs {
		d := newDelivery(e, placeOf(h), s)
		switch _, err := f.history.find(ctx, d.event.Tenant, d.id, s.ID); {
		case errors.Is(err, errNoDelivery):
			left = append(left, s)
		case err != nil:
			return nil, fmt.Errorf("look for the delivery %s: %w", d.id, err)
		}
	}
	return left, nil
}
