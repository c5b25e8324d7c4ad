package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/belay-hooks/belay/test/load"
)

// A crowd is many senders and what they were answered.
type crowd struct {
	addr       string
	duplicates float64

	mu                        sync.Mutex
	accepted                  []bool // by number
	next                      uint64
	done                      int // accepted ones
	requests, again           int
	recognised, refused, none int
	longest                   time.Duration // of an answer
	slowest                   time.Duration // until one was accepted, with all that was sent again
}

// timeout is how long a sender waits for an answer, as GitHub does.
const timeout = 10 * time.Second

func newCrowd(addr string, webhooks uint64, duplicates float64) *crowd {
	return &crowd{addr: addr, duplicates: duplicates, accepted: make([]bool, webhooks+1)}
}

// send returns when all are accepted, or the context ends and each sender has
// its last answer.
func (c *crowd) send(ctx context.Context, senders int) error {
	errs := make(chan error, senders)
	for range senders {
		go func() { errs <- c.sender(ctx) }()
	}
	var first error
	for range senders {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (c *crowd) sender(ctx context.Context) error {
	s, err := load.NewSender(c.addr, "/webhooks/github", timeout)
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		n, again := c.choose()
		if n == 0 || !c.insist(ctx, s, n, again) {
			return nil
		}
	}
}

// choose is the number of the next webhook, or of one that was accepted some
// time ago and is sent once more; 0 when there are no more.
func (c *crowd) choose() (n uint64, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if rand.Float64() < c.duplicates && c.next > 0 {
		if n := 1 + rand.Uint64N(c.next); c.accepted[n] {
			c.again++
			return n, true
		}
	}
	if int(c.next) == len(c.accepted)-1 { // the first is of no webhook
		return 0, false
	}
	c.next++
	return c.next, false
}

// insist sends a webhook until it is accepted, as a provider does. It reports
// whether there is time for another one.
func (c *crowd) insist(ctx context.Context, s *load.Sender, n uint64, again bool) bool {
	const pause = 50 * time.Millisecond
	for start := time.Now(); ; {
		a := s.Send(ctx, n)
		c.note(a, start, again)
		if a.Accepted() {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause + rand.N(pause)):
		}
	}
}

func (c *crowd) note(a load.Answer, start time.Time, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	if a.Status != 0 {
		c.longest = max(c.longest, a.Took)
	}
	switch {
	case a.Accepted():
		c.slowest = max(c.slowest, time.Since(start))
		if !c.accepted[a.Number] {
			c.accepted[a.Number] = true
			c.done++
		}
		if again && a.Duplicate {
			c.recognised++
		}
	case a.Status != 0:
		c.refused++
	default:
		c.none++
	}
}

func (c *crowd) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

func (c *crowd) last() uint64              { return c.next }
func (c *crowd) wasAccepted(n uint64) bool { return c.accepted[n] }

// String tells what was answered.
func (c *crowd) String() string {
	return fmt.Sprintf("%d webhooks in %d requests, %d of them sent again on purpose\n"+
		"accepted: %d; recognised as sent before: %d; refused (5xx): %d; without an answer: %d\n"+
		"longest answer: %s; longest until accepted: %s\n",
		c.next, c.requests, c.again, c.done, c.recognised, c.refused, c.none,
		c.longest.Round(time.Millisecond), c.slowest.Round(time.Millisecond))
}
