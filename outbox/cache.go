package outbox

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// cache holds all subscriptions in memory, as the watch of their bucket tells
// them. Matching asks nobody.
type cache struct {
	bad func(key string, err error) // told of an entry that cannot be read

	mu      sync.RWMutex
	loaded  bool
	byKey   map[string]*Subscription
	tenants map[string]*index
	changed chan struct{} // closed, and made anew, at every change
}

// index finds the subscriptions of a tenant by the event's type. A filter
// without * is looked up; only the different filters with one are tried.
type index struct {
	exact filters
	wild  filters
}

// filters are sets of subscriptions, by the filter that they share.
type filters map[string]set

// set is a set of subscriptions, by id.
type set map[string]*Subscription

func newCache(bad func(key string, err error)) *cache {
	c := &cache{bad: bad, changed: make(chan struct{})}
	c.clear()
	return c
}

func (c *cache) clear() {
	c.byKey = make(map[string]*Subscription)
	c.tenants = make(map[string]*index)
}

// watcher is what keeps the cache up to date.
func (c *cache) watcher() stream.Watcher {
	return stream.Watcher{
		Reset: func(entries []stream.Entry) {
			c.change(func() {
				c.clear()
				for _, e := range entries {
					c.put(e)
				}
				c.loaded = true
			})
		},
		Put:    func(e stream.Entry) { c.change(func() { c.put(e) }) },
		Delete: func(key string, _ uint64) { c.change(func() { c.remove(key) }) },
	}
}

func (c *cache) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *cache) put(e stream.Entry) {
	c.remove(e.Key)
	s, err := decodeSubscription(e.Value, e.Revision)
	if err != nil {
		c.bad(e.Key, err)
		return
	}
	c.byKey[e.Key] = s
	in := c.tenants[s.Tenant]
	if in == nil {
		in = &index{exact: make(filters), wild: make(filters)}
		c.tenants[s.Tenant] = in
	}
	for _, filter := range s.allFilters() {
		in.of(filter).add(filter, s)
	}
}

func (c *cache) remove(key string) {
	s := c.byKey[key]
	if s == nil {
		return
	}
	delete(c.byKey, key)
	for _, filter := range s.allFilters() {
		c.tenants[s.Tenant].of(filter).remove(filter, s)
	}
}

// of is the half of the index that a filter belongs to.
func (i *index) of(filter string) filters {
	if strings.Contains(filter, "*") {
		return i.wild
	}
	return i.exact
}

func (f filters) add(filter string, s *Subscription) {
	if f[filter] == nil {
		f[filter] = make(set)
	}
	f[filter][s.ID] = s
}

func (f filters) remove(filter string, s *Subscription) {
	delete(f[filter], s.ID)
	if len(f[filter]) == 0 {
		delete(f, filter)
	}
}

// match returns the subscriptions of a tenant that want events of a
// type, by their id.
func (c *cache) match(tenant, eventType string) []*Subscription {
	c.mu.RLock()
	defer c.mu.RUnlock()
	in := c.tenants[tenant]
	if in == nil {
		return nil
	}
	var found []*Subscription
	take := func(of set) {
		for _, s := range of {
			if s.takes() {
				found = append(found, s)
			}
		}
	}
	take(in.exact[eventType])
	for filter, of := range in.wild {
		// It parses: decodeSubscription tried.
		if p, err := event.ParsePattern(filter); err == nil && p.Match(eventType) {
			take(of)
		}
	}
	slices.SortFunc(found, byID)
	return slices.CompactFunc(found, func(a, b *Subscription) bool { return a.ID == b.ID })
}

func byID(a, b *Subscription) int { return strings.Compare(a.ID, b.ID) }

// list returns up to limit subscriptions of a tenant with ids above after.
func (c *cache) list(tenant, after string, limit int) (page []*Subscription, more bool) {
	c.mu.RLock()
	for _, s := range c.byKey {
		if s.Tenant == tenant && s.ID > after {
			page = append(page, s)
		}
	}
	c.mu.RUnlock()
	slices.SortFunc(page, byID)
	if len(page) > limit {
		return page[:limit], true
	}
	return page, false
}

func (c *cache) get(key string) (*Subscription, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s, ok := c.byKey[key]
	return s, ok
}

// wait returns once the condition holds, which is asked with the cache locked
// for reading, at first and after every change.
func (c *cache) wait(ctx context.Context, holds func(c *cache) bool) error {
	for {
		c.mu.RLock()
		ok, changed := holds(c), c.changed
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

// waitLoaded returns once the cache holds everything.
func (c *cache) waitLoaded(ctx context.Context) error {
	return c.wait(ctx, func(c *cache) bool { return c.loaded })
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
	return len(c.byKey)
}
