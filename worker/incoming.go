package worker

import (
	"context"
	"fmt"

	"github.com/belay-hooks/belay/pkg/stream"
)

// ensureIncoming sets up the consumer of the chain in a shard. Those of an ordered
// chain have another name: nobody takes anything from them, so that a worker which
// still runs the chain without order cannot either. A chain is not switched from
// the one to the other under its name, because events that it has in hand, and
// those that it has parked, would be handled beside their successors.
func (r *runner) ensureIncoming(ctx context.Context, c stream.ConsumerConfig) (*stream.Consumer, error) {
	b := r.config.Broker
	name, other, was := "chain-"+r.chain.Name, "ordered-"+r.chain.Name, "ordered"
	ensure := b.EnsureConsumer
	if r.chain.Ordered {
		name, other, was = other, name, "not ordered"
		ensure = b.EnsureOrdered
	}
	switch exists, err := b.HasConsumer(ctx, c.Stream, other); {
	case err != nil:
		return nil, err
	case exists:
		return nil, fmt.Errorf("the chain is %s so far, and events of it may be in hand: give the chain another name, with a start where it is to begin, "+
			"or let it finish what it has and remove its consumers %s of the streams %s and the like", was, other, c.Stream)
	}
	c.Name = name
	return ensure(ctx, c)
}
