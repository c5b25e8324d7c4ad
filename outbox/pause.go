package outbox

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/belay-hooks/belay/pkg/stream"
)

const (
	// holdFor is how long what a paused subscription has waiting is parked at a time.
	// The owner of its shard brings it back as soon as the subscription is resumed; if
	// that fails it comes by itself.
	holdFor = 15 * time.Minute
	// wakesAtOnce is how many deliveries are brought back at the same time: they
	// share the broker's flush to the disk.
	wakesAtOnce = 64
)

// pauses are the subscriptions of a shard for which deliveries were parked because
// they are paused: tenant and id.
type pauses struct {
	mu      sync.Mutex
	waiting map[[2]string]bool
	added   chan struct{} // closed, and made anew, when one is added
}

func (p *pauses) add(tenant, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := [2]string{tenant, id}
	if p.waiting[key] {
		return
	}
	if p.waiting == nil {
		p.waiting = make(map[[2]string]bool)
	}
	p.waiting[key] = true
	if p.added != nil {
		close(p.added)
		p.added = nil
	}
}

// over takes those that are not paused any more, and what is closed when more come.
func (p *pauses) over(paused func(tenant, id string) bool) (resumed []string, added <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.waiting {
		if !paused(key[0], key[1]) {
			delete(p.waiting, key)
			resumed = append(resumed, key[1])
		}
	}
	if p.added == nil {
		p.added = make(chan struct{})
	}
	return resumed, p.added
}

// held says how a delivery is parked whose subscription is paused.
func held(s *Subscription) parked {
	if !s.Paused {
		return parked{}
	}
	return parked{until: time.Now().Add(holdFor), cause: parkPaused}
}

// wake brings back what waits for subscriptions that are resumed, until ctx ends. The
// owner before may have parked something for those that are paused now, or were.
func (s *shard) wake(ctx context.Context) {
	for _, sub := range s.subscriptions.cache.pausedSince(time.Now().Add(-holdFor)) {
		if shardOf(sub.ID, s.broker.Shards()) == s.number {
			s.pauses.add(sub.Tenant, sub.ID)
		}
	}
	for ctx.Err() == nil {
		changed := s.subscriptions.cache.changes()
		resumed, added := s.pauses.over(func(tenant, id string) bool {
			sub, ok := s.subscriptions.cache.get(subscriptionKey(tenant, id))
			return ok && sub.Paused
		})
		for _, id := range resumed {
			if err := s.wakeAll(ctx, id); err != nil && ctx.Err() == nil {
				s.log.Warn("what waited for a resumed subscription comes later", "subscription", id, "at_the_latest_in", holdFor, "error", err)
			}
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-added:
		}
	}
}

// wakeAll brings back all that a subscription has waiting because it was paused.
func (s *shard) wakeAll(ctx context.Context, subscription string) error {
	_, err := s.bringBack(ctx, back{subscription, []parkCause{parkPaused}, 1, math.MaxInt})
	return err
}

// back says what is to be brought back.
type back struct {
	subscription string
	causes       []parkCause // for one of which it was parked
	from         uint64      // the first message of the stream to look at
	most         int         // deliveries
}

// bringBack makes deliveries due that are parked, the oldest first. Without an error it
// returns which message comes next; 0: there is no more.
func (s *shard) bringBack(ctx context.Context, b back) (next uint64, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(wakesAtOnce)
	seq := b.from
	for n := 0; n < b.most; seq++ {
		m, err := s.broker.Next(ctx, stream.Out(s.number), stream.OutWait(s.number, b.subscription, "*"), seq)
		if errors.Is(err, stream.ErrNotFound) {
			return 0, group.Wait()
		}
		if err != nil {
			return 0, errors.Join(err, group.Wait())
		}
		seq = m.Seq
		d, err := decodeDelivery(m.Header, m.Data)
		if err != nil || !slices.Contains(b.causes, d.cause) {
			continue
		}
		d.cause = ""
		n++
		group.Go(func() error { return comeBack(ctx, s.broker, s.number, d, m) })
	}
	return seq, group.Wait()
}

// comeBack makes a delivery due that is parked as a message says. If it is due
// already, or parked anew, that is as good.
func comeBack(ctx context.Context, b *stream.Broker, shard int, d *delivery, m *stream.Stored) error {
	err := b.Reschedule(ctx, d.due(shard), m.Subject, time.Now(), m.Seq)
	if errors.Is(err, stream.ErrConflict) {
		return nil
	}
	return err
}
