package stream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Held is a message that this process has been handed and holds until it is
// settled. Its deadline at the broker is extended for as long as it is held.
type Held struct {
	// Stream and Seq name the message.
	Stream string
	Seq    uint64
	// Subject it is stored under.
	Subject string
	Header  map[string][]string
	Data    []byte
	// Stored is when the broker stored it.
	Stored time.Time
	// Deliveries counts how often it was handed out, from 1. A single broker
	// that crashed counts from 1 again.
	Deliveries int
	// Touched says that somebody may have worked on the message before: it was
	// handed out before, or its ledger knows of progress.
	Touched bool
	// Doubtful says that somebody may have begun with the message though nothing tells
	// so, not even Deliveries: it is one of the first ones that this process gets of
	// those that were there before it, and a single broker that crashed has forgotten
	// whom it had handed them to.
	Doubtful bool
	// Finished says that the chain has finished with it before. It is only told of
	// what is read by [Consumer.Take].
	Finished bool

	slots   Slots // in which it has a place; nil: in none, or no more
	confirm bool  // the ack itself has to be confirmed: no ledger stands behind it

	mu      sync.Mutex
	msg     *nats.Msg // the newest copy: the broker hands a late message out again
	settled bool      // a verdict was told: another copy is a new delivery
	until   time.Time // when the broker hands it to somebody else, if it is told nothing
}

// Leave gives the slot of the message to the next one: what follows is no work, but
// waits for what it came to be stored. Only the goroutine that works on it calls it.
func (h *Held) Leave() {
	if h.slots != nil {
		<-h.slots
		h.slots = nil
	}
}

// Verdict is what becomes of a held message.
type Verdict struct {
	verb  verb
	delay time.Duration
}

type verb int

const (
	ack verb = iota
	again
)

var (
	// Ack: all that follows from the message is stored; it is not handed out again.
	Ack = Verdict{verb: ack}
	// GiveBack: nothing was done; somebody else may have the message in a moment.
	GiveBack = Again(givenBackFor)
)

// givenBackFor keeps a message that was given back from the last pull of the
// process that gave it back, which would be handed it again and again.
const givenBackFor = 250 * time.Millisecond

// Again hands the message out again after the delay. It keeps counting against
// what a consumer may have handed out, so it is for seconds;
// [Broker.Schedule] is for longer.
func Again(delay time.Duration) Verdict { return Verdict{verb: again, delay: delay} }

// Waits tells whether the message is to be handed out again, and after what delay.
func (v Verdict) Waits() (time.Duration, bool) { return v.delay, v.verb == again }

// Settle tells the broker the verdict. It is the only place that does. If it
// fails the message is handed out again once its deadline has passed.
func (h *Held) Settle(ctx context.Context, v Verdict) error {
	h.mu.Lock()
	msg, lapsed := h.msg, time.Now().After(h.until)
	// Before the broker is told: it may hand the message out again at once.
	h.settled = true
	h.mu.Unlock()
	var err error
	switch {
	case v.verb == again && lapsed:
		// It is handed out again anyway, or was: who works on it would lose it.
	case v.verb == again:
		err = msg.NakWithDelay(v.delay)
	case h.confirm:
		// A verdict that was reached is told even while the process stops.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		err = msg.AckSync(nats.Context(ctx))
	default:
		err = msg.Ack()
	}
	if err != nil {
		return fmt.Errorf("settle message %d of %s: %w", h.Seq, h.Stream, brokerError(err))
	}
	return nil
}

// extend moves the deadline at the broker of a message that has no verdict yet:
// that of one that is to come again is when it does. One whose deadline has passed is
// somebody else's by now.
func (h *Held) extend() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.settled || now.After(h.until) {
		return nil
	}
	if err := h.msg.InProgress(); err != nil {
		return err
	}
	h.until = now.Add(ackWait)
	return nil
}

// replace takes a newer copy of a message that has no verdict yet, and reports
// whether it did.
func (h *Held) replace(msg *nats.Msg) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.settled {
		h.msg, h.until = msg, time.Now().Add(ackWait)
	}
	return !h.settled
}
