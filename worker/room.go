package worker

import (
	"context"
	"math"
	"runtime/debug"

	"golang.org/x/sync/semaphore"

	"github.com/belay-hooks/belay/pkg/stream"
)

// The bytes of the events in hand: one half is for messages, of which each consumer
// has a share, the other for bodies that stand beside their message in parts.
const (
	defaultMaxBytes = 256 << 20
	leastShare      = 4 * stream.LargestMessage
)

// maxBytes is how much the events in hand may take.
func (c Config) maxBytes() int64 {
	if c.MaxBytes > 0 {
		return c.MaxBytes
	}
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return limit / 4
	}
	return defaultMaxBytes
}

// room is the bytes for bodies in parts.
type room struct {
	*semaphore.Weighted
	size int64
}

func newRoom(size int64) room { return room{semaphore.NewWeighted(size), size} }

// shareOut gives each consumer of the chains its share of the bytes for messages.
func (w *Worker) shareOut(runners []*runner) {
	consumers := 0
	for _, r := range runners {
		consumers += len(r.incoming) + 1
	}
	for _, r := range runners {
		r.share = max(w.config.maxBytes()/2/int64(consumers), leastShare)
	}
}

// takeRoom waits until there is room for the body of an event in parts. One that is
// larger than all the room has it alone.
func (r *runner) takeRoom(ctx context.Context, t *task, header map[string][]string) error {
	size := min(stream.SizeInParts(header), r.room.size)
	if size == 0 || t.large > 0 {
		return nil
	}
	if err := r.room.Acquire(ctx, size); err != nil {
		return err
	}
	t.large = size
	return nil
}

// giveRoom gives back what the event took.
func (r *runner) giveRoom(t *task) {
	if t.large > 0 {
		r.room.Release(t.large)
		t.large = 0
	}
}
