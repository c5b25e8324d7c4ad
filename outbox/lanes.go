package outbox

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// The bounds of what waits in memory.
const (
	// shortWait is how long a delivery is expected to wait in memory at most. What
	// has to wait for longer is parked in the log.
	shortWait = 250 * time.Millisecond
	// farthest is how far ahead a delivery is parked that waits for its endpoint to
	// take more, by what is known of the endpoint now.
	farthest = 15 * time.Minute
	// share is the part of the free slots, one in so many, that one subscription
	// may have: the fewer are left, the fewer it gets. It is also the part of all
	// slots that is kept for endpoints that serve.
	share = 4
	// calmWait is the same for an endpoint that serves: what waits for it keeps
	// moving, and parking it would cost more than its turn.
	calmWait = time.Second
	// maxTurns is how many lanes are looked at after an attempt: that one slot that
	// is free now is not taken by any of the first is rare.
	maxTurns = 16
	// idleFor is how long an idle lane is remembered.
	idleFor = time.Minute
)

// lanes decide which deliveries are attempted now. Each subscription has a lane
// of its own: its rate, its concurrency, its breaker. A lane holds slots for the
// attempts that run and for nothing else:
//
//	delivery ──▶ breaker open? ──▶ rate? ──▶ concurrency? ──▶ a free slot ──▶ attempt
//	                  │               │            │               │
//	                  ▼               ▼            ▼               ▼
//	             park: until it   park: until   it waits in memory for a moment;
//	             is probed        its token     what would wait longer is parked
//
// One process has all deliveries of a subscription, so plain memory is exact.
type lanes struct {
	concurrency int // of a subscription that says nothing

	mu    sync.Mutex
	slots int // in all
	free  int // of them
	byID  map[string]*lane
	turns []*lane // those whose deliveries wait for a free slot, in turn
}

// pass is the permission to make an attempt. It is given back by [lanes.leave].
type pass struct {
	lane  *lane
	begun time.Time
	probe bool // of the lane's breaker
}

// waiting is a delivery that waits in memory.
type waiting struct {
	lane  *lane
	begin chan *pass // nil: its lane has to be asked again
	// longest is how long it waits: twice as long as it was expected to.
	longest time.Duration
}

// parked says that a delivery is not attempted now.
type parked struct {
	until time.Time // zero: it is given back
	cause parkCause
}

// parkCause says why a delivery is parked; a label of the metrics.
type parkCause string

const (
	parkBreaker     parkCause = "breaker"
	parkRate        parkCause = "rate"
	parkConcurrency parkCause = "concurrency"
	parkPaused      parkCause = "paused"
)

// entry is how a delivery enters a lane.
type entry int

const (
	entryNew     entry = iota
	entryPaid          // it has taken its turn in the subscription's rate before
	entryOrdered       // somebody wants the attempt now: neither rate nor an open breaker keeps it
)

func newLanes(slots, concurrency int) *lanes {
	return &lanes{concurrency: concurrency, slots: slots, free: slots, byID: make(map[string]*lane)}
}

// enter returns a pass for an attempt that may begin, at the latest after a moment,
// or says how the delivery is parked. When ctx ends it is given back.
func (l *lanes) enter(ctx context.Context, s *Subscription, how entry) (*pass, parked) {
	p, put, w := l.ask(s, how, true)
	if soon := time.Until(put.until); put.cause == parkRate && soon <= shortWait {
		if !pause(ctx, soon) {
			return nil, parked{}
		}
		how = entryPaid
		p, put, w = l.ask(s, how, true)
	}
	if w == nil {
		return p, put
	}
	if p = l.await(ctx, w); p != nil || ctx.Err() != nil {
		return p, parked{}
	}
	p, put, _ = l.ask(s, max(how, entryPaid), false)
	return p, put
}

// ask asks a lane: may it begin, is it parked, or does it wait if it may.
func (l *lanes) ask(s *Subscription, how entry, mayWait bool) (*pass, parked, *waiting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln, now := l.lane(s), time.Now()
	if until := ln.breaker.refuses(now, max(time.Second, ln.expects(now))); !until.IsZero() && (how != entryOrdered || ln.breaker.probing) {
		return nil, parked{until: ln.reserve(until, min(ln.step(now), 100*time.Millisecond), now), cause: parkBreaker}, nil
	}
	if ln.limiter != nil && how == entryNew {
		if wait := ln.limiter.ReserveN(now, 1).DelayFrom(now); wait > 0 {
			return nil, parked{until: now.Add(wait), cause: parkRate}, nil
		}
	}
	if len(ln.waiting) == 0 && l.room(ln) {
		return l.begin(ln, now), parked{}, nil
	}
	wait := ln.step(now) * time.Duration(len(ln.waiting)+1)
	longest := shortWait
	if ln.trusted {
		longest = calmWait
	}
	if !mayWait || wait > longest {
		return nil, parked{until: ln.reserve(now.Add(max(time.Second, wait)), ln.step(now), now), cause: parkConcurrency}, nil
	}
	w := &waiting{lane: ln, begin: make(chan *pass, 1), longest: 2 * longest}
	ln.waiting = append(ln.waiting, w)
	l.queue(ln)
	return nil, parked{}, w
}

// await waits for a moment, and returns the pass if w has got one.
func (l *lanes) await(ctx context.Context, w *waiting) *pass {
	timer := time.NewTimer(w.longest)
	defer timer.Stop()
	select {
	case p := <-w.begin:
		return p
	case <-timer.C:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(w.lane.waiting, w)
	if i < 0 {
		return <-w.begin // it was told just now
	}
	w.lane.waiting = slices.Delete(w.lane.waiting, i, i+1)
	return nil
}

func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// leave ends an attempt, and begins those that it has made room for.
func (l *lanes) leave(p *pass, e ended) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln, now := p.lane, time.Now()
	e.probe = p.probe
	if i := slices.Index(ln.running, p.begun); i >= 0 {
		ln.running = slices.Delete(ln.running, i, i+1)
	}
	l.free++
	ln.used = now
	was := ln.breaker.closed()
	if !e.cut {
		ln.learn(now.Sub(p.begun), e.served)
	}
	opened := ln.breaker.end(e, now)
	if opened || !was && ln.breaker.closed() {
		ln.horizon = time.Time{} // it was reckoned by how the endpoint served before
	}
	if opened {
		for _, w := range ln.waiting {
			w.begin <- nil
		}
		ln.waiting = nil
	}
	l.queue(ln)
	l.serve(now)
	l.recall(ln, now)
}

// lane is that of a subscription, as it is limited now.
func (l *lanes) lane(s *Subscription) *lane {
	ln := l.byID[s.ID]
	if ln == nil {
		ln = &lane{id: s.ID, credit: firstCredit}
		l.byID[s.ID] = ln
	}
	concurrency := s.Concurrency
	if concurrency == 0 {
		concurrency = l.concurrency
	}
	ln.set(s.RateLimit, concurrency)
	ln.used = time.Now()
	return ln
}

// room tells whether an attempt of the lane may begin: it has fewer than it may
// have, and no more than its share of what is free, of which a part is kept for
// endpoints that serve.
func (l *lanes) room(ln *lane) bool {
	free := l.free
	if !ln.trusted {
		free -= l.slots / share
	}
	n := len(ln.running)
	return free > 0 && n < ln.atOnce() && n <= free/share && !ln.breaker.probing
}

func (l *lanes) begin(ln *lane, now time.Time) *pass {
	l.free--
	ln.running = append(ln.running, now)
	return &pass{lane: ln, begun: now, probe: ln.breaker.begin()}
}

// queue gives the lane a turn if it has something to begin.
func (l *lanes) queue(ln *lane) {
	if !ln.queued && len(ln.waiting) > 0 && len(ln.running) < ln.atOnce() {
		ln.queued = true
		l.turns = append(l.turns, ln)
	}
}

// serve begins what waits for a slot, each lane in its turn.
func (l *lanes) serve(now time.Time) {
	for range min(len(l.turns), maxTurns) {
		if l.free == 0 {
			return
		}
		ln := l.turns[0]
		l.turns = l.turns[1:]
		ln.queued = false
		if len(ln.waiting) > 0 && l.room(ln) {
			ln.waiting[0].begin <- l.begin(ln, now)
			ln.waiting = ln.waiting[1:]
		}
		l.queue(ln)
	}
}

// keep forgets idle lanes until ctx ends.
func (l *lanes) keep(ctx context.Context) {
	for pause(ctx, idleFor) {
		l.mu.Lock()
		now := time.Now()
		maps.DeleteFunc(l.byID, func(_ string, ln *lane) bool { return ln.idle(now) })
		l.mu.Unlock()
	}
}

// forget forgets the lanes of a shard that is given up. Nothing of them runs.
func (l *lanes) forget(shard, shards int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.byID, func(id string, _ *lane) bool { return shardOf(id, shards) == shard })
}

// counts are how many attempts run, and how many breakers are open.
func (l *lanes) counts() (running, open int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ln := range l.byID {
		if !ln.breaker.closed() {
			open++
		}
	}
	return l.slots - l.free, open
}
