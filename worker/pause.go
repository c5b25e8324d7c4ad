package worker

import (
	"context"

	"github.com/belay-hooks/belay/internal/standing"
)

// A gate holds a chain while it is paused, and until it is known whether it is.
type gate struct {
	chain    string
	switches *standing.Switches
	metrics  *metrics
}

// Open waits while the chain is paused, and returns a context that ends when it is
// paused again, or ctx ends.
func (g *gate) Open(ctx context.Context) (context.Context, context.CancelFunc) {
	for {
		paused, known, changed := g.look()
		if known && !paused || ctx.Err() != nil {
			return g.until(ctx)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// look tells whether the chain is paused, if that is known, and what is closed when
// it may have changed.
func (g *gate) look() (paused, known bool, changed <-chan struct{}) {
	_, paused, known, changed = g.switches.Look(g.chain)
	g.metrics.paused.WithLabelValues(g.chain).Set(number(paused))
	return paused, known, changed
}

// until returns a context that ends when the chain is paused.
func (g *gate) until(ctx context.Context) (context.Context, context.CancelFunc) {
	open, closed := context.WithCancel(ctx)
	go func() {
		for {
			paused, _, changed := g.look()
			if paused {
				closed()
			}
			select {
			case <-open.Done():
				return
			case <-changed:
			}
		}
	}()
	return open, closed
}
