package ingress

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// A health is a store that remembers since when it has stored nothing.
type health struct {
	Store
	failing atomic.Bool // asked for every event, without the lock

	mu    sync.Mutex
	since time.Time // of the first failure after the last success
	last  time.Time // of the latest
	cause error
}

// StoreAsking stores the event and remembers what came of it.
func (h *health) StoreAsking(ctx context.Context, e *event.Event, q *stream.Question) (stream.Receipt, error) {
	receipt, err := h.Store.StoreAsking(ctx, e, q)
	switch {
	case err == nil:
		if h.failing.Load() {
			h.failing.Store(false)
		}
	case errors.Is(err, stream.ErrFull):
		h.failed(stream.ErrFull)
	case errors.Is(err, stream.ErrUnavailable):
		h.failed(stream.ErrUnavailable)
	}
	return receipt, err
}

func (h *health) failed(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if !h.failing.Swap(true) {
		h.since = now
	}
	h.last, h.cause = now, cause
}

// ready tells why the store is not to be relied on. With no failure for a while
// it is given another chance: who is unready is sent nothing, and would not
// notice that the store is back.
func (h *health) ready(now time.Time) error {
	if !h.failing.Load() {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if failing := now.Sub(h.since); failing >= unreadyAfter && now.Sub(h.last) < anotherChance {
		return fmt.Errorf("nothing could be stored for %s: %w", failing.Round(time.Second), h.cause)
	}
	return nil
}

// Ready tells why nothing can be stored, once that has been so for a few
// seconds; nil if it can, as far as is known. It recovers by itself.
func (s *Server) Ready(context.Context) error { return s.health.ready(time.Now()) }
