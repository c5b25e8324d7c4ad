package outbox

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/stream"
)

const (
	// backlogEvery is how often it is asked how much stands in the log.
	backlogEvery = 2 * time.Second
	// enoughRoom is the part of the limit below which fan-out begins again.
	enoughRoom = 0.9
)

// backlog knows whether too many bytes of deliveries stand in the OUT streams, due
// or parked. Nothing is dropped there, so no more may come.
type backlog struct {
	broker *stream.Broker
	limit  int64
	log    *slog.Logger

	mu      sync.Mutex
	high    bool
	changed chan struct{} // closed, and made anew, at every change
}

func newBacklog(b *stream.Broker, limit int64, log *slog.Logger) *backlog {
	return &backlog{broker: b, limit: limit, log: log, changed: make(chan struct{})}
}

// watch asks the broker until ctx ends.
func (b *backlog) watch(ctx context.Context) {
	for {
		if err := b.look(ctx); err != nil && ctx.Err() == nil {
			b.log.Debug("the backlog of deliveries is not known", "error", err)
		}
		if !pause(ctx, backlogEvery) {
			return
		}
	}
}

func (b *backlog) look(ctx context.Context) error {
	var bytes int64
	for shard := range b.broker.Shards() {
		n, err := b.broker.Bytes(ctx, stream.Out(shard))
		if err != nil {
			return err
		}
		bytes += n
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	high := bytes >= b.limit || b.high && float64(bytes) >= enoughRoom*float64(b.limit)
	if high == b.high {
		return nil
	}
	b.high = high
	close(b.changed)
	b.changed = make(chan struct{})
	if high {
		b.log.Warn("too many deliveries wait: notifications are refused and not fanned out until there are less", "bytes", bytes, "limit", b.limit)
	} else {
		b.log.Info("notifications are accepted and fanned out again", "bytes", bytes, "limit", b.limit)
	}
	return nil
}

func (b *backlog) state() (high bool, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.high, b.changed
}

// refusal is the answer to a notification while there is too much; nil otherwise.
func (b *backlog) refusal() error {
	if high, _ := b.state(); !high {
		return nil
	}
	return rest.NewProblem(http.StatusServiceUnavailable,
		"too many deliveries wait for their subscribers; try again later").With("Retry-After", "30")
}

// whileLow runs f whenever there is not too much, until ctx ends. The context of f
// ends when there is.
func (b *backlog) whileLow(ctx context.Context, f func(context.Context)) {
	for ctx.Err() == nil {
		high, changed := b.state()
		if !high {
			running, stop := context.WithCancel(ctx)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				f(running)
			}()
			select {
			case <-changed:
			case <-ctx.Done():
			}
			stop()
			<-ended
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}
