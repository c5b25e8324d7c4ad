package outbox

import (
	"context"
	"sync"
	"time"

	"github.com/belay-hooks/belay/pkg/stream"
)

const (
	// maxLead is how many deliveries of a shard may be due before its notifications
	// are fanned out no further: more would only be written earlier, and read later.
	maxLead = 2000
	// leadStep is how many are written between two looks at how many are due.
	leadStep = 500
	// leadLooks is how often it is looked while there are too many.
	leadLooks = 20 * time.Millisecond
	// leadStands is how long the fan-out waits while they do not become fewer: nobody
	// has the shard then, and what is for others must not wait for it.
	leadStands = 500 * time.Millisecond
)

// lead keeps the fan-out of a shard from running away from those who send. A
// notification is one message for as long as it waits, its deliveries are many.
type lead struct {
	due func(context.Context) (uint64, error) // deliveries that nobody has been handed

	mu   sync.Mutex
	left int // how many may be written before the next look
}

// newLead is the lead over those who share a consumer.
func newLead(c *stream.Consumer) *lead {
	return &lead{due: func(ctx context.Context) (uint64, error) {
		at, err := c.Standing(ctx)
		return at.Pending, err
	}}
}

// wait returns when n more deliveries may be written.
func (l *lead) wait(ctx context.Context, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left -= n; l.left >= 0 {
		return nil
	}
	least, since := uint64(0), time.Now()
	for {
		due, err := l.due(ctx)
		if err != nil {
			return err
		}
		if due < least || least == 0 {
			least, since = due, time.Now()
		}
		if due < maxLead || time.Since(since) > leadStands {
			l.left = leadStep
			return nil
		}
		if !pause(ctx, leadLooks) {
			return ctx.Err()
		}
	}
}
