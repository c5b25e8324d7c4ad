package stream

import (
	"context"
	"sync"
)

// groups is a group commit: what callers add while one group is being committed
// forms the next one, and all callers of a group wait for its one commit. At low
// load a group is a single item and waits for nobody; under load the groups grow
// with the number of callers.
type groups[T any] struct {
	// commit makes a group's items durable.
	commit func(items []T) error
	// limit is the largest group; 0 for no limit.
	limit int

	committing sync.Mutex // held by the group that is being committed

	mu   sync.Mutex
	next *group[T] // still takes items
}

type group[T any] struct {
	items []T
	done  chan struct{}
	err   error
}

// add puts the item into the next group and returns once that is committed.
func (g *groups[T]) add(item T) error {
	mine, first := g.join(item)
	if first {
		g.lead(mine)
	}
	<-mine.done
	return mine.err
}

// addWithin is add for a caller that waits no longer than ctx. The item is
// committed all the same.
func (g *groups[T]) addWithin(ctx context.Context, item T) error {
	mine, first := g.join(item)
	if first {
		go g.lead(mine) // the others of the group may wait for longer
	}
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// join puts the item into the next group, and tells whether it is its first: who
// brings that leads the group.
func (g *groups[T]) join(item T) (mine *group[T], first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	mine = g.next
	first = mine == nil
	if first {
		mine = &group[T]{done: make(chan struct{})}
		g.next = mine
	}
	mine.items = append(mine.items, item)
	if len(mine.items) == g.limit {
		g.next = nil
	}
	return mine, first
}

// lead commits a group once the one before it is committed. Until then it takes
// more items.
func (g *groups[T]) lead(mine *group[T]) {
	g.committing.Lock()
	defer g.committing.Unlock()
	g.mu.Lock()
	if g.next == mine {
		g.next = nil
	}
	g.mu.Unlock()
	defer close(mine.done)
	mine.err = g.commit(mine.items)
}
