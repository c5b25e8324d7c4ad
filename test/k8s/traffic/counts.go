package main

import (
	"sync"
	"time"
)

// Report is what has become of the webhooks so far.
type Report struct {
	// Subscribed says that deliveries come here.
	Subscribed bool
	// Sent are different webhooks, Requests all attempts to have them accepted, Answers
	// those by status; 0: there was none.
	Sent, Requests int
	Answers        map[int]int
	// Accepted, Handled and Delivered are different webhooks: that were answered 2xx,
	// that the chain's handler got, and that the subscriber got.
	Accepted, Handled, Delivered int
	// Lost were accepted and not handled, or not delivered, so far.
	Lost int
	// Duplicates were handled under more than one idempotency key, or delivered as
	// more than one message: one webhook was taken for two.
	Duplicates int
	// HandledAgain and DeliveredAgain are repetitions under the same key or message id,
	// which their receiver can recognise: what a process that is killed leaves.
	HandledAgain, DeliveredAgain int
	// Unknown were handled or delivered and never sent. Refused deliveries did not verify.
	Unknown, Refused int
	// Longest is how many seconds it took at most until a webhook was accepted.
	Longest float64
}

// A fate is what has become of one webhook.
type fate struct {
	begun    time.Time
	accepted bool
	keys     map[string]int // of the handler's calls
	messages map[string]int // of the deliveries
}

type counts struct {
	mu    sync.Mutex
	fates map[string]*fate
	total Report
}

func newCounts() *counts {
	return &counts{fates: map[string]*fate{}, total: Report{Answers: map[int]int{}}}
}

func (c *counts) do(f func(r *Report)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.total)
}

func (c *counts) subscribed() { c.do(func(r *Report) { r.Subscribed = true }) }
func (c *counts) refused()    { c.do(func(r *Report) { r.Refused++ }) }

func (c *counts) sent(id string) {
	c.do(func(*Report) {
		c.fates[id] = &fate{begun: time.Now(), keys: map[string]int{}, messages: map[string]int{}}
	})
}

func (c *counts) answered(id string, status int) {
	c.do(func(r *Report) {
		r.Requests++
		r.Answers[status]++
		if status/100 == 2 {
			c.fates[id].accepted = true
			r.Longest = max(r.Longest, time.Since(c.fates[id].begun).Seconds())
		}
	})
}

func (c *counts) handled(id, key string) {
	c.came(id, func(f *fate) { f.keys[key]++ })
}

func (c *counts) delivered(id, message string) {
	c.came(id, func(f *fate) { f.messages[message]++ })
}

func (c *counts) came(id string, note func(*fate)) {
	c.do(func(r *Report) {
		if f, ok := c.fates[id]; ok {
			note(f)
		} else {
			r.Unknown++
		}
	})
}

func (c *counts) report() (r Report) {
	c.do(func(so *Report) {
		r = *so
		r.Answers = map[int]int{}
		for status, n := range so.Answers {
			r.Answers[status] = n
		}
		r.Sent = len(c.fates)
		for _, f := range c.fates {
			if f.accepted {
				r.Accepted++
				if len(f.keys) == 0 || len(f.messages) == 0 {
					r.Lost++
				}
			}
			r.Handled += min(len(f.keys), 1)
			r.Delivered += min(len(f.messages), 1)
			r.Duplicates += max(len(f.keys)-1, 0) + max(len(f.messages)-1, 0)
			for _, n := range f.keys {
				r.HandledAgain += n - 1
			}
			for _, n := range f.messages {
				r.DeliveredAgain += n - 1
			}
		}
	})
	return r
}
