package outbox

import (
	"errors"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-hooks/belay/pkg/stream"
)

// What is parked over the minutes that a slow endpoint would need comes as soon as the
// endpoint turns out to be quick.
func TestIdleLaneRecalls(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]parkCause{
		"what found no room": parkConcurrency, "what found the breaker open": parkBreaker,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newHouse(t).run(nil)
			slow := make(chan struct{})
			release := sync.OnceFunc(func() { close(slow) })
			t.Cleanup(release)
			s := newSubscriber(t, func(http.ResponseWriter, *http.Request) { <-slow })
			sub, _ := o.subscribe("key-a", map[string]any{"url": s.URL})
			l := o.server.lanes
			l.mu.Lock()
			ln := l.lane(&sub)
			ln.took, ln.credit, ln.trusted = time.Minute, 1, true
			if cause == parkBreaker {
				ln.breaker.until = time.Now() // it is to be probed
			}
			l.mu.Unlock()
			const n = 40
			o.notify("key-a", "first", "t", `1`)
			s.next(t)
			for i := range n {
				o.notify("key-a", strconv.Itoa(i), "t", `1`)
			}
			eventually(t, "all others are parked", func() bool { return o.parked(sub.ID, cause) == n })
			release()
			o.attempts(n + 1)
			o.settled()
		})
	}
}

// parked is how many deliveries of a subscription are parked for a cause.
func (o *outbox) parked(subscription string, cause parkCause) (n int) {
	o.t.Helper()
	shard := shardOf(subscription, o.broker.Shards())
	for seq := uint64(1); ; seq++ {
		m, err := o.broker.Next(o.t.Context(), stream.Out(shard), stream.OutWait(shard, subscription, "*"), seq)
		if errors.Is(err, stream.ErrNotFound) {
			return n
		}
		if err != nil {
			o.t.Fatal(err)
		}
		seq = m.Seq
		if d, err := decodeDelivery(m.Header, m.Data); err == nil && d.cause == cause {
			n++
		}
	}
}

func TestRecall(t *testing.T) {
	t.Parallel()
	served := ended{served: true}
	for name, test := range map[string]struct {
		before func(l *lanes, s *Subscription) // what happens before the attempt ends
		end    ended
		due    time.Duration // when what is parked comes by itself
		asks   int
	}{
		"idle":                        {end: served, due: time.Minute, asks: 1},
		"what is parked comes soon":   {end: served, due: soonEnough / 2},
		"the endpoint does not serve": {due: time.Minute},
		"others wait in memory": {end: served, due: time.Minute, before: func(l *lanes, s *Subscription) {
			ln := l.lane(s)
			ln.waiting = append(ln.waiting, &waiting{lane: ln, begin: make(chan *pass, 1)}, &waiting{lane: ln, begin: make(chan *pass, 1)})
		}},
		"no slot is free":      {end: served, due: time.Minute, before: func(l *lanes, _ *Subscription) { l.free = -1 }},
		"it is being recalled": {end: served, due: time.Minute, before: func(l *lanes, s *Subscription) { l.lane(s).away.asked = true }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, s, ask := newLanes(100, 1), sub("a", 0, 0), make(chan string, 10)
				p, _ := l.enter(t.Context(), s, entryNew)
				l.putAway("a", 7, time.Now().Add(test.due), ask)
				if len(ask) != 0 {
					t.Error("a lane recalls while it is full")
				}
				if test.before != nil {
					test.before(l, s)
				}
				l.leave(p, test.end)
				if len(ask) != test.asks {
					t.Errorf("asked %d times, want %d", len(ask), test.asks)
				}
			})
		})
	}
}

// What is recalled goes on where it was left, and what is parked meanwhile is not
// forgotten.
func TestRecallGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s, ask := newLanes(100, 10), sub("a", 0, 0), make(chan string, 10)
		attempt := func() {
			t.Helper()
			p, put := l.enter(t.Context(), s, entryNew)
			if p == nil {
				t.Fatalf("parked %+v", put)
			}
			l.leave(p, ended{served: true})
		}
		putAway := func(seq uint64) { l.putAway("a", seq, time.Now().Add(time.Minute), ask) }
		recalls := func(from uint64) {
			t.Helper()
			<-ask
			if b := l.recallable("a"); b.from != from || b.most < 1 || b.most > recallsAtOnce {
				t.Fatalf("recall %+v, want from %d", b, from)
			}
		}
		attempt()
		putAway(7)
		putAway(5)
		recalls(5)
		putAway(30)
		l.recalled("a", 20)
		attempt()
		recalls(20)
		putAway(40)
		l.recalled("a", 0)
		attempt()
		recalls(40)
		l.recalled("a", 0)
		attempt()
		if len(ask) != 0 {
			t.Error("asked for more than there is")
		}
		if b := l.recallable("gone"); b.most != 0 {
			t.Errorf("recall %+v of a lane that is not there", b)
		}
		l.recalled("gone", 3)
	})
}

// What is recalled takes its turn in the subscription's rate again: no more is recalled
// than it has turns for.
func TestRecallKeepsToTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := newLanes(100, 10), sub("a", 30, 0) // 3 at once
		for want := range 3 {
			p, _ := l.enter(t.Context(), s, entryNew)
			l.leave(p, ended{served: true})
			if b := l.recallable("a"); b.most != max(2-want, 1) {
				t.Errorf("%d recalled after %d attempts, want %d", b.most, want+1, max(2-want, 1))
			}
		}
	})
}
