// Package deadline bounds many small pieces of work at little cost each.
package deadline

import (
	"context"
	"sync"
	"time"
)

// Shared gives out contexts that end a while later. Those who ask within a tenth of that
// while share one: no timer is set and taken back for each of them. It is for bounds that
// are hardly ever reached.
type Shared struct {
	within time.Duration

	mu    sync.Mutex
	ctx   context.Context
	until time.Time // it is given out
}

// In returns the contexts that end after d, or up to a tenth of d later.
func In(d time.Duration) *Shared { return &Shared{within: d} }

// Context returns one of them. It is nobody's child, as what it bounds has to be brought to
// its end even while the process stops.
func (s *Shared) Context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.After(s.until) {
		tenth := s.within / 10
		ctx, cancel := context.WithTimeout(context.Background(), s.within+tenth)
		context.AfterFunc(ctx, cancel)
		s.ctx, s.until = ctx, now.Add(tenth)
	}
	return s.ctx
}
