package outbox

import (
	"context"
	"time"
)

// What finds no room in its lane, or an open breaker, is parked over the time that its
// endpoint was expected to need for what came before it. If the endpoint turns out to be
// quicker, the lane stands idle while its deliveries are parked: then it recalls them, the
// oldest first.
const (
	// soonEnough is how far ahead something may be parked without being recalled.
	soonEnough = time.Second
	// recallsAtOnce is how many deliveries a lane recalls at most before it looks again
	// whether it is idle.
	recallsAtOnce = 256
	// idleLanes is how many lanes of a shard may wait for being seen to.
	idleLanes = 64
)

// away is what a lane has parked that it may recall.
type away struct {
	from  uint64        // it lies behind this message of the shard's stream; 0: there is none
	until time.Time     // when the last of it is due
	asked bool          // the shard is looking for it
	ask   chan<- string // where the shard is asked, with the id of the subscription
}

// putAway is told that a delivery, which was the message seq, is parked, and may be
// recalled.
func (l *lanes) putAway(id string, seq uint64, until time.Time, ask chan<- string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.byID[id]
	if ln == nil {
		return // its shard is given up
	}
	a := &ln.away
	a.ask = ask
	a.since(seq)
	if until.After(a.until) {
		a.until = until
	}
	l.recall(ln, time.Now())
}

// since takes down that something lies behind a message.
func (a *away) since(seq uint64) {
	if a.from == 0 || seq < a.from {
		a.from = seq
	}
}

// recall asks for what the lane has parked if it stands idle.
func (l *lanes) recall(ln *lane, now time.Time) {
	a := &ln.away
	idle := ln.trusted && len(ln.waiting) == 0 && ln.breaker.closed() && l.room(ln)
	if a.from == 0 || a.asked || !idle || a.until.Sub(now) < soonEnough {
		return
	}
	select {
	case a.ask <- ln.id:
		a.asked = true
	default: // so many others are idle: the next attempt that ends asks again
	}
}

// recallable tells what a lane can take of what it has parked.
func (l *lanes) recallable(id string) back {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := back{subscription: id, causes: []parkCause{parkConcurrency, parkBreaker}}
	if ln := l.byID[id]; ln != nil {
		b.from, ln.away.from = ln.away.from, 0
		now := time.Now()
		b.most = min(ln.atOnce()-len(ln.running)+int(calmWait/ln.step(now)), recallsAtOnce)
		if ln.limiter != nil { // each will take its turn in the rate again
			b.most = min(b.most, max(1, int(ln.limiter.TokensAt(now))))
		}
	}
	return b
}

// recalled is told from which message on there is more to be recalled; 0: there is none.
func (l *lanes) recalled(id string, next uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.byID[id]
	if ln == nil {
		return
	}
	ln.away.asked = false
	if next != 0 {
		ln.away.since(next)
	} else if ln.away.from == 0 {
		ln.horizon, ln.away.until = time.Time{}, time.Time{}
	}
}

// recall brings back what idle lanes have parked, until ctx ends.
func (s *shard) recall(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-s.idle:
			b := s.lanes.recallable(id)
			next, err := s.bringBack(ctx, b)
			if err != nil {
				next = b.from
				s.log.Debug("what is parked for an idle endpoint comes in its time", "subscription", id, "error", err)
			}
			s.lanes.recalled(id, next)
		}
	}
}
