package stream

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPace(t *testing.T) {
	const ask = 64
	for name, c := range map[string]struct {
		settled int64
		after   time.Duration
		quick   bool
	}{
		"as many as are asked for, at once":            {ask, time.Millisecond, true},
		"more, at once":                                {3 * ask, time.Millisecond, true},
		"fewer, at once: the handlers are slow":        {ask - 1, time.Millisecond, false},
		"none, at once: there was room from the start": {0, 0, false},
		"as many, later":                               {ask, quickly, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pace{taken: 1000}
				p.look(100, ask)
				<-time.After(c.after)
				p.look(100-int(c.settled), ask)
				if p.quick != c.quick {
					t.Errorf("quick: %v", p.quick)
				}
			})
		})
	}
}
