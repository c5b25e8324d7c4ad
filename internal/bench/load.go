package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// answerTimeout is longer than any budget of the ingress.
const answerTimeout = 20 * time.Second

// Load says what is sent, and how.
type Load struct {
	// Addr is the server's address.
	Addr string
	// Hooks are sent in turn.
	Hooks []*Hook
	// Connections is how many webhooks are under way at most, each on a
	// connection of its own.
	Connections int
	// Rate is how many webhooks are sent a second, answered or not, as senders do,
	// besides those that are sent once more;
	// so many at most as there are connections. 0: each connection sends the next
	// one when the last one is answered.
	Rate float64
	// Duplicates is the share of webhooks, 0 to 1, that are sent once more after
	// they were answered.
	Duplicates float64
}

// Generator sends webhooks. It remembers which were accepted.
type Generator struct {
	load    Load
	number  atomic.Uint64 // of the last webhook
	senders []*sender
}

// Phase is what came of one [Generator.Run].
type Phase struct {
	// Sent is how many webhooks were sent, and Accepted how many were answered
	// with 2xx; both with those that were Resent on purpose.
	Sent, Accepted, Resent uint64
	// Recognized is how many answers said that the webhook was a duplicate.
	Recognized uint64
	// Refused counts the other answers by their status.
	Refused map[int]uint64
	// Failed is how many got no answer, and Err why the last of them did not.
	Failed uint64
	Err    error
	// Elapsed is how long it took.
	Elapsed time.Duration
	// Latencies are those of the accepted ones, in order of size. At a fixed rate
	// they count from when a webhook was due, however late it was sent.
	Latencies []time.Duration
}

// AcceptedPerSecond is the rate of answers with 2xx.
func (p *Phase) AcceptedPerSecond() float64 { return float64(p.Accepted) / p.Elapsed.Seconds() }

// Latency is the time within which this share, 0 to 1, of the accepted webhooks
// were answered; 0 if there are none.
func (p *Phase) Latency(share float64) time.Duration {
	if len(p.Latencies) == 0 {
		return 0
	}
	at := int(share*float64(len(p.Latencies))+0.999999) - 1
	return p.Latencies[min(max(at, 0), len(p.Latencies)-1)]
}

// NewGenerator opens the connections.
func NewGenerator(ctx context.Context, l Load) (*Generator, error) {
	if l.Connections < 1 || len(l.Hooks) == 0 || l.Duplicates < 0 || l.Duplicates >= 1 || l.Rate < 0 {
		return nil, errors.New("a load needs connections and webhooks, a rate of 0 or more, and a share of duplicates from 0 to below 1")
	}
	g := &Generator{load: l}
	for i := range l.Connections {
		s := &sender{g: g, turn: i}
		g.senders = append(g.senders, s)
		for _, h := range l.Hooks {
			own, err := h.Clone()
			if err != nil {
				return nil, errors.Join(err, g.Close())
			}
			s.hooks = append(s.hooks, own)
		}
		var err error
		if s.conn, err = dial(ctx, l.Addr); err != nil {
			return nil, errors.Join(fmt.Errorf("connect to the server: %w", err), g.Close())
		}
	}
	return g, nil
}

// Close closes the connections.
func (g *Generator) Close() error {
	var errs []error
	for _, s := range g.senders {
		if s.conn != nil {
			errs = append(errs, s.conn.Close())
		}
	}
	return errors.Join(errs...)
}

// Run sends for this long, and returns when the last answer is there.
func (g *Generator) Run(ctx context.Context, d time.Duration) (*Phase, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	start := time.Now()
	var (
		due   atomic.Int64 // how many were due
		group sync.WaitGroup
	)
	for _, s := range g.senders {
		s.phase = Phase{Refused: map[int]uint64{}}
		group.Go(func() { s.run(ctx, start, &due) })
	}
	group.Wait()
	all := &Phase{Refused: map[int]uint64{}, Elapsed: time.Since(start)}
	for _, s := range g.senders {
		all.add(&s.phase)
		if s.broken != nil {
			return nil, s.broken
		}
	}
	slices.Sort(all.Latencies)
	return all, nil
}

func (p *Phase) add(q *Phase) {
	p.Sent += q.Sent
	p.Accepted += q.Accepted
	p.Resent += q.Resent
	p.Recognized += q.Recognized
	p.Failed += q.Failed
	if q.Err != nil {
		p.Err = q.Err
	}
	for status, n := range q.Refused {
		p.Refused[status] += n
	}
	p.Latencies = append(p.Latencies, q.Latencies...)
}

// A sender is one connection.
type sender struct {
	g        *Generator
	hooks    []*Hook
	conn     *conn
	turn     int
	owed     float64  // duplicates that are still to be sent
	accepted []uint64 // the numbers of those that were
	phase    Phase
	broken   error // the load itself does not work
}

func (s *sender) run(ctx context.Context, start time.Time, due *atomic.Int64) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil && s.broken == nil {
		began := time.Now()
		if rate := s.g.load.Rate; rate > 0 {
			began = start.Add(time.Duration(float64(due.Add(1)-1) / rate * float64(time.Second)))
			timer.Reset(time.Until(began))
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
		hook := s.hooks[s.turn%len(s.hooks)]
		n := s.g.number.Add(1)
		if !s.send(ctx, hook, n, began) {
			continue
		}
		// The share is that of all that is sent, so for each new one it is this.
		s.owed += s.g.load.Duplicates / (1 - s.g.load.Duplicates)
		if s.owed >= 1 {
			s.owed--
			s.phase.Resent++
			s.send(ctx, hook, n, time.Now())
		}
		s.turn++
	}
}

// send sends one webhook, and reports whether it was accepted.
func (s *sender) send(ctx context.Context, hook *Hook, n uint64, began time.Time) bool {
	request, err := hook.Numbered(n, time.Now())
	if err != nil {
		s.broken = err
		return false
	}
	s.phase.Sent++
	a, err := s.conn.post(request, answerTimeout)
	if err != nil || a.closes {
		s.reconnect(ctx)
	}
	switch {
	case err != nil:
		s.phase.Failed++
		s.phase.Err = err
	case a.status/100 != 2:
		s.phase.Refused[a.status]++
	default:
		s.phase.Accepted++
		s.phase.Latencies = append(s.phase.Latencies, time.Since(began))
		if a.duplicate {
			s.phase.Recognized++
		}
		s.accepted = append(s.accepted, n)
		return true
	}
	return false
}

func (s *sender) reconnect(ctx context.Context) {
	_ = s.conn.Close() // it is of no use any more, whatever it says
	c, err := dial(ctx, s.g.load.Addr)
	if err != nil {
		if ctx.Err() == nil {
			s.broken = fmt.Errorf("connect to the server again: %w", err)
		}
		return
	}
	s.conn = c
}
