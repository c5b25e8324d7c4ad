package stream

import "sync"

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
	g.mu.Lock()
	mine := g.next
	first := mine == nil
	if first {
		mine = &group[T]{done: make(chan struct{})}
		g.next = mine
	}
	mine.items = append(mine.items, item)
	if len(mine.items) == g.limit {
		g.next = nil
	}
	g.mu.Unlock()
	if first {
		g.lead(mine)
	}
	<-mine.done
	return mine.err
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
