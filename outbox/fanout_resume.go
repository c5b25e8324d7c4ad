package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// doubtfulChunks is how many chunks after the cursor are looked into: one may be written
// and has no cursor yet, and as many subscriptions may have come between its own since.
const doubtfulChunks = 2

// unwritten are the subscriptions of a chunk whose deliveries are not written yet. One
// that is written waits, or is a dead letter, or was attempted: that is known for as long
// as the history is kept.
func (f *fanout) unwritten(ctx context.Context, h *stream.Held, e *event.Event, chunk []*Subscription) ([]*Subscription, error) {
	var ids, subjects []string
	var left []*Subscription
	for _, s := range chunk {
		d, standing := newDelivery(e, placeOf(h), s), &found{}
		if err := f.history.findStanding(ctx, standing, d.event.Tenant, d.id, s.ID); err != nil {
			return nil, fmt.Errorf("look for the delivery %s: %w", d.id, err)
		}
		if standing.view == nil {
			left = append(left, s)
			ids, subjects = append(ids, d.id), append(subjects, stream.AttemptSubject(d.event.Tenant, s.ID, "*"))
		}
	}
	if len(left) == 0 {
		return nil, nil
	}
	attempted, err := f.history.attempted(ctx, subjects, h.Stored)
	if err != nil {
		return nil, fmt.Errorf("look for what was attempted: %w", err)
	}
	i := -1
	return slices.DeleteFunc(left, func(*Subscription) bool {
		i++
		return attempted[ids[i]]
	}), nil
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
