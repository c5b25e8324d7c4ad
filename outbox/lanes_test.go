package outbox

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func sub(id string, perSecond float64, concurrency int) *Subscription {
	return &Subscription{ID: id, RateLimit: perSecond, Concurrency: concurrency}
}

// enterAll asks for many attempts at once, each of which takes so long, and tells
// what came of them, and when each began.
func enterAll(t *testing.T, l *lanes, s *Subscription, n int, took time.Duration, e ended) (began []time.Duration, put []parked) {
	t.Helper()
	type one struct {
		at  time.Duration
		put parked
	}
	start, all := time.Now(), make(chan one, n)
	for range n {
		go func() {
			p, put := l.enter(t.Context(), s, entryNew)
			at := time.Since(start)
			if p != nil {
				<-time.After(took)
				l.leave(p, e)
			}
			all <- one{at, put}
		}()
		synctest.Wait()
	}
	for range n {
		if o := <-all; o.put.cause == "" {
			began = append(began, o.at)
		} else {
			put = append(put, o.put)
		}
	}
	return began, put
}

func TestConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(100, 2)
		// Quick ones wait in memory for their turn: 2 every 10 ms.
		began, put := enterAll(t, l, sub("a", 0, 0), 20, 10*time.Millisecond, ended{served: true})
		if len(began) != 20 || len(put) != 0 || began[19] > 200*time.Millisecond {
			t.Errorf("began %v, parked %v", began, put)
		}
		// Those of one that hangs wait for a moment and are parked then.
		began, put = enterAll(t, l, sub("b", 0, 3), 10, 15*time.Second, ended{})
		if len(began) > 3 || len(put) < 7 {
			t.Errorf("began %v, parked %v", began, put)
		}
		for _, p := range put {
			if p.cause != parkConcurrency {
				t.Errorf("parked %+v", p)
			}
		}
		if running, _ := l.counts(); running != 0 {
			t.Errorf("%d run", running)
		}
	})
}

// However many hang, a slot is left for others.
func TestHangingLeaveSlots(t *testing.T) {
	t.Parallel()
	for _, hanging := range []int{1, 10, 100, 500} {
		t.Run(strconv.Itoa(hanging), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLanes(1024, 16)
				p, _ := l.enter(t.Context(), sub("good", 0, 0), entryNew)
				l.leave(p, ended{served: true})
				for i := range hanging {
					for range 20 {
						go func() {
							if p, _ := l.enter(t.Context(), sub(fmt.Sprint("bad", i), 0, 0), entryNew); p != nil {
								<-time.After(15 * time.Second)
								l.leave(p, ended{})
							}
						}()
					}
				}
				synctest.Wait()
				began := time.Now()
				p, put := l.enter(t.Context(), sub("good", 0, 0), entryNew)
				if p == nil || time.Since(began) > 0 {
					t.Fatalf("parked %+v after %v", put, time.Since(began))
				}
				l.leave(p, ended{served: true})
				<-time.After(time.Minute) // until all have given up
			})
		})
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(100, 50)
		s := sub("a", 10, 0)
		start := time.Now()
		began, put := enterAll(t, l, s, 30, 0, ended{served: true})
		// One at once, those of the next moment wait, the others are parked, each for
		// the time of its turn.
		if len(began) != 3 || len(put) != 27 {
			t.Fatalf("began %v, parked %v", began, put)
		}
		for i, p := range put {
			if want := start.Add(time.Duration(i+3) * 100 * time.Millisecond); p.cause != parkRate || p.until.Sub(want).Abs() > time.Microsecond {
				t.Errorf("%d is parked until %v for %s, want %v", i, p.until.Sub(start), p.cause, want.Sub(start))
			}
		}
		// What comes back from there does not pay again.
		p, _ := l.enter(t.Context(), s, entryPaid)
		if p == nil {
			t.Fatal("parked again")
		}
		l.leave(p, ended{served: true})
		// A limit that is lifted is lifted at once.
		if p, put := l.enter(t.Context(), sub("a", 0, 0), entryNew); p == nil {
			t.Errorf("parked %+v", put)
		}
	})
}

// What comes while the breaker is open is parked until it is probed, one after
// the other, and what waits is parked when it opens.
func TestBreakerParks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(100, 5)
		s := sub("a", 0, 0)
		began, put := enterAll(t, l, s, 20, 100*time.Millisecond, ended{})
		if len(began) < breakerFailures || len(began) > breakerFailures+5 || len(put) != 20-len(began) {
			t.Fatalf("began %v, parked %v", began, put)
		}
		if _, open := l.counts(); open != 1 {
			t.Errorf("%d breakers are open", open)
		}
		at := map[time.Time]bool{}
		for _, p := range put {
			if wait := time.Until(p.until); p.cause != parkBreaker && p.cause != parkConcurrency || wait > openFor+5*time.Second {
				t.Errorf("parked %+v", p)
			}
			at[p.until] = true
		}
		if len(at) != len(put) {
			t.Errorf("%d are parked until %d times", len(put), len(at))
		}
		<-time.After(openFor)
		probe, _ := l.enter(t.Context(), s, entryNew)
		if probe == nil {
			t.Fatal("no probe")
		}
		if p, put := l.enter(t.Context(), s, entryNew); p != nil || put.cause != parkBreaker {
			t.Errorf("a second probe: %+v", put)
		}
		l.leave(probe, ended{served: true})
		if began, put := enterAll(t, l, s, 5, time.Millisecond, ended{served: true}); len(began) != 5 {
			t.Errorf("began %v, parked %v", began, put)
		}
	})
}

// What waits is given back when the shard is, and idle lanes are forgotten.
func TestLanesEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(100, 1)
		ctx, stop := context.WithCancel(t.Context())
		first, _ := l.enter(ctx, sub("a", 0, 0), entryNew)
		go func() {
			<-time.After(10 * time.Millisecond)
			stop()
		}()
		if p, put := l.enter(ctx, sub("a", 0, 0), entryNew); p != nil || !put.until.IsZero() {
			t.Errorf("entered %+v, parked %+v", p, put)
		}
		l.leave(first, ended{served: true})
		l.enter(t.Context(), sub("b", 1, 0), entryNew)
		keep, end := context.WithCancel(t.Context())
		go l.keep(keep)
		<-time.After(3 * idleFor)
		synctest.Wait()
		if len(l.byID) != 1 {
			t.Errorf("%d lanes are kept", len(l.byID))
		}
		l.forget(0, 1)
		if len(l.byID) != 0 {
			t.Errorf("%d lanes are kept of a shard that is given up", len(l.byID))
		}
		end()
		synctest.Wait()
	})
}
