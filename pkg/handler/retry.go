package handler

import (
	"fmt"
	"math"
	"time"
)

// Retry is what happens after a handler has failed. The wait after the n-th
// failed attempt is First × Factor^(n-1), at most Max, moved at random by up to
// the share Jitter to either side. With the default policy:
//
//	failed attempt   1    2    3    4    5     6     7      8      9      10     11     12
//	next after       1s   2s   4s   8s   16s   32s   1m4s   2m8s   4m16s  8m32s  17m4s  given up
type Retry struct {
	// Attempts is how often a handler is tried in all.
	Attempts int
	// First is the wait after the first failure.
	First time.Duration
	// Factor is what each wait is multiplied by, 1 or more.
	Factor float64
	// Max is the longest wait.
	Max time.Duration
	// Jitter is the share, 0 to 1, by which a wait is moved at random.
	Jitter float64
	// GiveUp is the age of an event, counted from when it was stored, after which
	// it is not tried again, however many attempts are left.
	GiveUp time.Duration
}

// DefaultRetry is the policy of a chain that names none.
var DefaultRetry = Retry{
	Attempts: 12, First: time.Second, Factor: 2, Max: time.Hour, Jitter: 0.2, GiveUp: 72 * time.Hour,
}

// Validate tells what is wrong with the policy. The zero value is valid.
func (r Retry) Validate() error {
	switch {
	case r == Retry{}:
		return nil
	case r.Attempts < 1:
		return fmt.Errorf("attempts is %d: want 1 or more", r.Attempts)
	case r.First <= 0:
		return fmt.Errorf("first is %v: want more than 0", r.First)
	case !(r.Factor >= 1 && r.Factor <= 100):
		return fmt.Errorf("factor is %v: want 1 to 100", r.Factor)
	case r.Max < r.First:
		return fmt.Errorf("max is %v: want at least first, which is %v", r.Max, r.First)
	case !(r.Jitter >= 0 && r.Jitter <= 1):
		return fmt.Errorf("jitter is %v: want 0 to 1", r.Jitter)
	case r.GiveUp <= 0:
		return fmt.Errorf("give_up is %v: want more than 0", r.GiveUp)
	}
	return nil
}

// Next tells how long to wait after so many failed attempts (1 or more) of an
// event of this age, and whether there is another attempt at all. The number
// random, 0 to 1, places the wait within the jitter.
func (r Retry) Next(failed int, age time.Duration, random float64) (wait time.Duration, again bool) {
	if failed >= r.Attempts || age >= r.GiveUp {
		return 0, false
	}
	// In floating point a large exponent becomes infinite and is capped below.
	d := float64(r.First) * math.Pow(r.Factor, float64(failed-1))
	d = min(d, float64(r.Max))
	d *= 1 + r.Jitter*(2*random-1)
	return time.Duration(d), true
}
