package stream_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/stream"
)

// splitters are processes that split parts among themselves, and what they own.
type splitters struct {
	t      *testing.T
	server *testbroker.Server
	parts  int

	mu    sync.Mutex
	owner map[int]int // part to process
}

type splitter struct {
	b     *stream.Broker
	stop  context.CancelFunc
	ended chan struct{}
}

const splitLease = 2 * time.Second

func newSplitters(t *testing.T, parts int) *splitters {
	t.Helper()
	s := &splitters{t: t, server: testbroker.Start(t), parts: parts, owner: map[int]int{}}
	if err := s.server.Connect().Migrate(t.Context(), stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *splitters) join(number int) *splitter {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	p := &splitter{b: s.server.Connect(), stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.b.Split(ctx, s.t.Context(), stream.SplitConfig{Name: "c", Parts: s.parts, Lease: splitLease, Run: func(fetch, work context.Context, part int, lease *stream.Lease) {
			s.own(number, part)
			select {
			case <-fetch.Done():
			case <-work.Done():
			}
			s.own(-1, part)
		}})
	}()
	s.t.Cleanup(func() { stop(); <-p.ended })
	return p
}

func (s *splitters) own(number, part int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before, owned := s.owner[part]; owned && number >= 0 {
		s.t.Errorf("%d begins with part %d, which %d has", number, part, before)
	}
	if s.owner[part] = number; number < 0 {
		delete(s.owner, part)
	}
}

// shares is how many parts each process owns, sorted; not told while a part has no
// owner.
func (s *splitters) shares() (all []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.owner) < s.parts {
		return nil
	}
	counts := map[int]int{}
	for _, number := range s.owner {
		counts[number]++
	}
	for _, n := range counts {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

func (s *splitters) settle(want ...int) {
	s.t.Helper()
	deadline := time.After(30 * time.Second)
	for !slices.Equal(s.shares(), want) {
		select {
		case <-deadline:
			s.t.Fatalf("shares %v, want %v", s.shares(), want)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestPartsAreSplitAmongThoseWhoAreThere(t *testing.T) {
	s := newSplitters(t, 8)
	first := s.join(0)
	s.settle(8)
	second := s.join(1)
	s.settle(4, 4)
	s.join(2)
	s.settle(2, 3, 3)
	began := time.Now()
	second.stop()
	<-second.ended
	s.settle(4, 4)
	if took := time.Since(began); took > splitLease {
		t.Errorf("what was given up went on after %v", took)
	}
	for number := 3; number < 12; number++ {
		s.join(number)
	}
	s.settle(1, 1, 1, 1, 1, 1, 1, 1) // the others stand by
	first.stop()
	<-first.ended
	s.settle(1, 1, 1, 1, 1, 1, 1, 1)
}

func TestPartsOfTheDeadGoToTheOthersAfterTheLease(t *testing.T) {
	s := newSplitters(t, 4)
	first := s.join(0)
	s.settle(4)
	s.join(1)
	s.settle(2, 2)
	first.b.Close()
	s.settle(4)
	s.server.Restart()
	s.settle(4)
}

// Who is stopped while joining leaves nobody behind whom the others would wait for.
func TestWhoIsStoppedWhileJoiningLeaves(t *testing.T) {
	server := testbroker.Start(t)
	b := server.Connect()
	if err := b.Migrate(t.Context(), stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	nothing := func(context.Context, context.Context, int, *stream.Lease) {}
	for i := range 200 {
		fetch, stop := context.WithCancel(t.Context())
		timer := time.AfterFunc(time.Duration(i)*5*time.Microsecond, stop)
		b.Split(fetch, t.Context(), stream.SplitConfig{Name: "c", Parts: 1, Run: nothing})
		timer.Stop()
	}
	watch, stop := context.WithCancel(t.Context())
	b.Bucket(stream.Owners).WatchFiltered(watch, "member.c.*", stream.Watcher{
		Reset: func(entries []stream.Entry) {
			here := 0
			for _, e := range entries {
				if string(e.Value) == "here" {
					here++
				}
			}
			if here > 0 {
				t.Errorf("%d of %d are still waited for", here, len(entries))
			}
			stop()
		},
		Put: func(stream.Entry) {}, Delete: func(string, uint64) {},
	})
}

func TestLeaseIsLostWithTheBroker(t *testing.T) {
	server := testbroker.Start(t)
	b := server.Connect()
	if err := b.Migrate(t.Context(), stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	fetch, stop := context.WithCancel(t.Context())
	began, lost := make(chan string, 10), make(chan time.Duration, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Split(fetch, t.Context(), stream.SplitConfig{Name: "c", Parts: 1, Lease: splitLease, Run: func(fetch, work context.Context, part int, lease *stream.Lease) {
			began <- strconv.FormatBool(lease.Held())
			since := time.Now()
			select {
			case <-fetch.Done():
			case <-work.Done():
				// At the end of the test the lease was not lost.
				if t.Context().Err() == nil && lease.Held() {
					t.Error("the lease is held after its end")
				}
				lost <- time.Since(since)
			}
		}})
	}()
	t.Cleanup(func() { stop(); <-ended })
	if got := <-began; got != "true" {
		t.Error("a part began without a lease")
	}
	server.Stop()
	<-lost
	server.Restart()
	if got := <-began; got != "true" {
		t.Error("a part began without a lease")
	}
}
