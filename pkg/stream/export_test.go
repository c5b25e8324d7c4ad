package stream

import "context"

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
