package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

const (
	// few is up to how many deliveries of a notification are written to a shard each
	// for itself, without a cursor: a batch costs the broker a temporary store, however
	// small it is.
	few = 8
	// fewOnce is how many there are at most now where there were few when somebody began.
	fewOnce = 4 * few
)

// writeFew stores a few deliveries, one after another.
func (f *fanout) writeFew(ctx context.Context, h *stream.Held, e *event.Event, shard int, subs []*Subscription) error {
	messages := make([]stream.Message, len(subs))
	for i, s := range subs {
		messages[i] = newDelivery(e, placeOf(h), s).due(shard)
	}
	return f.broker.PublishEach(ctx, messages)
}

// rest is what is left to be written of a shard's subscriptions: what comes after the
// cursor, and is not written yet. What has become of a few is asked for one by one.
func (f *fanout) rest(ctx context.Context, h *stream.Held, e *event.Event, shard int, subs []*Subscription) (left []*Subscription, err error) {
	last, err := f.last(ctx, h, shard)
	if err != nil {
		return nil, err
	}
	subs = slices.DeleteFunc(subs, func(s *Subscription) bool { return s.ID <= last })
	if len(subs) > fewOnce {
		return subs, nil
	}
	for _, s := range subs {
		known, err := f.known(ctx, h, e, s)
		if err != nil {
			return nil, err
		}
		if !known {
			left = append(left, s)
		}
	}
	return left, nil
}

// last is the subscription up to which the cursor says that all are written; empty
// without one.
func (f *fanout) last(ctx context.Context, h *stream.Held, shard int) (string, error) {
	m, err := f.broker.Last(ctx, stream.Out(shard), f.cursor(shard, h))
	switch {
	case errors.Is(err, stream.ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	}
	return string(m.Data), nil
}

// known tells whether the delivery to a subscription was written: it waits, or is a
// dead letter, or was attempted. That is known for as long as the history is kept.
func (f *fanout) known(ctx context.Context, h *stream.Held, e *event.Event, s *Subscription) (bool, error) {
	d := newDelivery(e, placeOf(h), s)
	switch _, err := f.history.find(ctx, d.event.Tenant, d.id, s.ID); {
	case errors.Is(err, errNoDelivery):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for the delivery %s: %w", d.id, err)
	}
	return true, nil
}
