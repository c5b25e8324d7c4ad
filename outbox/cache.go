package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// cache holds all subscriptions in memory, as the watch of their bucket tells
// them. Matching asks nobody. A short one takes 630 bytes of memory; others take
// about twice what is stored, which [Config.MaxSubscriptionBytes] bounds.
type cache struct {
	decode func(stream.Entry) (*Subscription, error)
	bad    func(key string, err error) // told of an entry that cannot be read

	mu      sync.RWMutex
	loaded  bool
	failed  error // why it does not know all of them
	all     contents
	changed chan struct{} // closed, and made anew, at every change
}

// contents are the subscriptions, and what finds them. They are changed by the
// watch alone, one call at a time.
type contents struct {
	byKey   map[string]*Subscription
	tenants map[string]*tenant
	bytes   int
}

// tenant is what a tenant has.
type tenant struct {
	byID  []*Subscription // sorted
	index index
}

func newCache(decode func(stream.Entry) (*Subscription, error), bad func(key string, err error)) *cache {
	return &cache{decode: decode, bad: bad, changed: make(chan struct{}), all: newContents(0)}
}

func newContents(size int) contents {
	return contents{byKey: make(map[string]*Subscription, size), tenants: make(map[string]*tenant)}
}

// watcher is what keeps the cache up to date.
func (c *cache) watcher() stream.Watcher {
	return stream.Watcher{
		Reset: c.reset,
		Put: func(e stream.Entry) {
			s, err := c.decode(e)
			if err != nil {
				c.bad(e.Key, err)
			}
			c.change(func() {
				if errors.Is(err, errSealed) {
					c.failed = fmt.Errorf("subscription %s: %w", e.Key, err)
					return
				}
				c.all.remove(e.Key)
				if err == nil {
					c.all.put(s)
				}
			})
		},
		Delete: func(key string, _ uint64) { c.change(func() { c.all.remove(key) }) },
	}
}

// reset takes everything anew. What is built meanwhile nobody waits for, and what
// has not changed is not decoded again.
func (c *cache) reset(entries []stream.Entry) {
	slices.SortFunc(entries, func(a, b stream.Entry) int { return strings.Compare(a.Key, b.Key) })
	all, sealed := newContents(len(entries)), error(nil)
	for _, e := range entries {
		s := c.all.byKey[e.Key]
		if s == nil || s.revision != e.Revision {
			var err error
			if s, err = c.decode(e); err != nil {
				c.bad(e.Key, err)
				if errors.Is(err, errSealed) && sealed == nil {
					sealed = fmt.Errorf("subscription %s: %w", e.Key, err)
				}
				continue
			}
		}
		all.put(s)
	}
	c.change(func() {
		if sealed != nil {
			c.failed = sealed // rather nothing than a part of them
			return
		}
		c.all, c.loaded = all, true
	})
}

func (c *cache) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

// pausedSince are the subscriptions that are paused, or may have been since a time.
func (c *cache) pausedSince(at time.Time) (all []*Subscription) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range c.all.byKey {
		if s.Paused || s.Updated.After(at) {
			all = append(all, s)
		}
	}
	return all
}

// changes is closed at the next change.
func (c *cache) changes() <-chan struct{} {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.changed
}

func (c *contents) put(s *Subscription) {
	c.byKey[s.key()] = s
	c.bytes += s.size
	t := c.tenants[s.Tenant]
	if t == nil {
		t = &tenant{}
		c.tenants[s.Tenant] = t
	}
	at, _ := slices.BinarySearchFunc(t.byID, s.ID, bySubscriptionID)
	t.byID = slices.Insert(t.byID, at, s)
	for _, filter := range s.allFilters() {
		t.index.add(filter, s)
	}
}

func (c *contents) remove(key string) {
	s := c.byKey[key]
	if s == nil {
		return
	}
	delete(c.byKey, key)
	c.bytes -= s.size
	t := c.tenants[s.Tenant]
	if at, ok := slices.BinarySearchFunc(t.byID, s.ID, bySubscriptionID); ok {
		t.byID = slices.Delete(t.byID, at, at+1)
	}
	for _, filter := range s.allFilters() {
		t.index.remove(filter, s)
	}
	if len(t.byID) == 0 {
		delete(c.tenants, s.Tenant)
	}
}

func bySubscriptionID(s *Subscription, id string) int { return strings.Compare(s.ID, id) }

// match returns the subscriptions of a tenant, or of all ([event.AllTenants]), that
// want events of a type, by their id.
func (c *cache) match(tenant, eventType string) []*Subscription {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var found []*Subscription
	take := func(some []*Subscription) {
		for _, s := range some {
			if s.takes() {
				found = append(found, s)
			}
		}
	}
	if tenant == event.AllTenants {
		for _, t := range c.all.tenants {
			t.index.match(eventType, take)
		}
	} else if t := c.all.tenants[tenant]; t != nil {
		t.index.match(eventType, take)
	}
	slices.SortFunc(found, func(a, b *Subscription) int { return strings.Compare(a.ID, b.ID) })
	return slices.Compact(found)
}

// list returns up to limit subscriptions of a tenant with ids above after.
func (c *cache) list(tenant, after string, limit int) (page []*Subscription, more bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	t := c.all.tenants[tenant]
	if t == nil {
		return nil, false
	}
	at, found := slices.BinarySearchFunc(t.byID, after, bySubscriptionID)
	if found {
		at++
	}
	end := min(at+limit, len(t.byID))
	return slices.Clone(t.byID[at:end]), end < len(t.byID)
}

func (c *cache) get(key string) (*Subscription, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s, ok := c.all.byKey[key]
	return s, ok
}

// wait returns once the condition holds, which is asked with the cache locked
// for reading, at first and after every change.
func (c *cache) wait(ctx context.Context, holds func(c *contents) bool) error {
	return c.until(ctx, func() bool { return holds(&c.all) })
}

func (c *cache) until(ctx context.Context, holds func() bool) error {
	for {
		c.mu.RLock()
		ok, changed := holds(), c.changed
		c.mu.RUnlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// waitLoaded returns once the cache holds everything, or cannot.
func (c *cache) waitLoaded(ctx context.Context) error {
	if err := c.until(ctx, func() bool { return c.loaded || c.failed != nil }); err != nil {
		return err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.loaded {
		return nil
	}
	return c.failed
}

// whole returns once the cache cannot know all subscriptions, and says why; or nil
// when ctx ends.
func (c *cache) whole(ctx context.Context) error {
	if err := c.until(ctx, func() bool { return c.failed != nil }); err != nil {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return fmt.Errorf("outbox: %w", c.failed)
}

func (c *cache) isLoaded() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.loaded
}

// size is the number of subscriptions.
func (c *cache) size() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.all.byKey)
}

// bytes is what the bucket keeps of them.
func (c *cache) bytes() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.all.bytes
}
