package stream

import (
	"context"
	"time"
)

// Pending is the number of messages that a consumer has not been handed, or has
// been handed more than once and not settled; for tests.
func (b *Broker) Pending(ctx context.Context, stream, consumer string) int {
	c, err := b.js.Consumer(ctx, stream, consumer)
	if err != nil {
		return -1
	}
	info := c.CachedInfo()
	return int(info.NumPending) + info.NumRedelivered
}

// Filters is what a consumer selects; for tests.
func (b *Broker) Filters(ctx context.Context, stream, consumer string) []string {
	c, err := b.js.Consumer(ctx, stream, consumer)
	if err != nil {
		return []string{err.Error()}
	}
	return filtersOf(c.CachedInfo().Config)
}

// SweepOnce does what the sweeper does at a time; for tests.
func (b *Broker) SweepOnce(ctx context.Context, who string) error {
	var never time.Time
	return b.sweepOnce(ctx, who, &never)
}

// WakeOverdue looks for messages that are this late; for tests.
func (b *Broker) WakeOverdue(ctx context.Context, stream, filter string, late time.Duration) error {
	return b.wakeOverdue(ctx, stream, filter, late)
}

// State is the numbers of the first and the last message of a stream; for tests.
func (b *Broker) State(ctx context.Context, stream string) (first, last uint64) {
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return 0, 0
	}
	return s.CachedInfo().State.FirstSeq, s.CachedInfo().State.LastSeq
}

// DeleteStream removes a stream; for tests.
func (b *Broker) DeleteStream(ctx context.Context, stream string) error {
	return b.js.DeleteStream(ctx, stream)
}

// MarkAhead is how far a mark is raised at once.
const MarkAhead = markAhead
