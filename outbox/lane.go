package outbox

import (
	"time"

	"golang.org/x/time/rate"
)

// firstCredit is how many attempts may run at once to an endpoint of which nothing
// is known.
const firstCredit = 2

// lane is one subscription, in the process that owns its shard.
type lane struct {
	id          string // of the subscription
	concurrency int
	// credit is how much of that it is trusted with: one more for each attempt that
	// was served, half for each that was not. An endpoint that hangs from the start
	// holds little.
	credit  int
	trusted bool          // its last attempt was served
	limiter *rate.Limiter // nil: no limit
	breaker breaker
	running []time.Time // when those attempts began that run, the oldest first
	waiting []*waiting  // in the order in which they came
	queued  bool        // it is in lanes.turns
	took    time.Duration
	horizon time.Time // until when what is parked keeps it busy
	away    away
	used    time.Time
}

// set takes over what the subscription says now.
func (ln *lane) set(perSecond float64, concurrency int) {
	ln.concurrency = concurrency
	switch limit := rate.Limit(perSecond); {
	case limit == 0:
		ln.limiter = nil
	case ln.limiter == nil:
		ln.limiter = rate.NewLimiter(limit, burst(perSecond))
	case ln.limiter.Limit() != limit:
		ln.limiter.SetLimit(limit)
		ln.limiter.SetBurst(burst(perSecond))
	}
}

// burst is how many attempts may be made at once of so many a second: those of a
// tenth of a second.
func burst(perSecond float64) int { return max(1, int(perSecond/10)) }

// learn keeps how long attempts take, the last ones above all, and what the
// endpoint is trusted with.
func (ln *lane) learn(took time.Duration, served bool) {
	if ln.trusted = served; served {
		ln.credit = min(ln.credit+1, ln.concurrency)
	} else {
		ln.credit = max(ln.credit/2, 1)
	}
	if ln.took == 0 {
		ln.took = took
		return
	}
	ln.took += (took - ln.took) / 5
}

// expects is how long an attempt will take: at least as long as every second one has
// taken of those that run.
func (ln *lane) expects(now time.Time) time.Duration {
	n := len(ln.running)
	if n == 0 {
		return ln.took
	}
	return max(ln.took, now.Sub(ln.running[(n-1)/2]))
}

// atOnce is how many attempts may run at once.
func (ln *lane) atOnce() int { return min(ln.concurrency, ln.credit) }

// step is how often the endpoint takes another one, when it has as many as it may.
func (ln *lane) step(now time.Time) time.Duration {
	return max(ln.expects(now)/time.Duration(ln.atOnce()), time.Millisecond)
}

// reserve is when the endpoint will take one more: not before a time, and a step
// after the one that is parked last.
func (ln *lane) reserve(from time.Time, step time.Duration, now time.Time) time.Time {
	at := from
	if ln.horizon.After(at) && ln.horizon.Before(now.Add(farthest)) {
		at = ln.horizon
	}
	ln.horizon = at.Add(step)
	return at
}

// idle tells whether nothing is lost by forgetting the lane.
func (ln *lane) idle(now time.Time) bool {
	return len(ln.running) == 0 && len(ln.waiting) == 0 &&
		now.Sub(ln.used) > idleFor && now.After(ln.horizon) && now.Sub(ln.breaker.until) > openAtMost &&
		(ln.limiter == nil || ln.limiter.TokensAt(now) >= float64(ln.limiter.Burst()))
}
