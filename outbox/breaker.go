package outbox

import "time"

// The times of a breaker.
const (
	// breakerFailures in a row open it: one more than an endpoint that is
	// restarted behind a balancer usually makes.
	breakerFailures = 5
	// openFor is how long it is open at first. It doubles with every probe that
	// fails, up to openAtMost.
	openFor    = 10 * time.Second
	openAtMost = 5 * time.Minute
)

// breaker keeps attempts from an endpoint that does not serve, so that it holds
// nothing but the one attempt that probes it. A library's would do, but none tells
// until when it is open, and a delivery has to be parked until then.
//
//	closed ──failures in a row, Retry-After──▶ open ──until──▶ one probe ──▶ closed
//	                                             ▲                │
//	                                             └── it fails ────┘ twice as long
type breaker struct {
	failures int
	period   time.Duration // for which it was opened last
	until    time.Time     // it is open till then; zero: closed
	probing  bool
}

func (b *breaker) closed() bool { return b.until.IsZero() }

// refuses tells until when no attempt may begin; zero: one may.
func (b *breaker) refuses(now time.Time, probe time.Duration) time.Time {
	switch {
	case b.closed():
		return time.Time{}
	case now.Before(b.until):
		return b.until
	case b.probing:
		return now.Add(probe) // it may be over by then
	}
	return time.Time{}
}

// begin is told of every attempt that begins, and tells whether it is the probe.
func (b *breaker) begin() (probe bool) {
	b.probing = !b.closed()
	return b.probing
}

// ended says how an attempt came out for the endpoint it was made to.
type ended struct {
	served bool // it answered that it has the delivery, or never will
	cut    bool // the attempt was not made to its end
	probe  bool // it probed whether the endpoint serves again
	// putOff is how long the endpoint wants to be left alone.
	putOff time.Duration
}

// end is told of every attempt that ends. It reports whether that opened it.
func (b *breaker) end(e ended, now time.Time) bool {
	if e.probe {
		b.probing = false
	}
	switch {
	case e.cut:
		return false
	case e.putOff > 0:
		if until := now.Add(e.putOff); until.After(b.until) {
			b.until = until
		}
		return true
	case e.served:
		*b = breaker{}
		return false
	case e.probe:
		b.period = min(max(2*b.period, openFor), openAtMost)
	case !b.closed():
		return false // it began before the breaker was opened
	default:
		if b.failures++; b.failures < breakerFailures {
			return false
		}
		b.period = openFor
	}
	b.until = now.Add(b.period)
	return true
}
