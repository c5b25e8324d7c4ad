package stream

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// The deadline of a held message, and how often it is extended.
const (
	ackWait     = 30 * time.Second
	extendEvery = ackWait / 3
	// maxHeld bounds what a consumer has handed out in all processes together,
	// short retries included.
	maxHeld = 10_000
)

// Slots is a semaphore: how many messages may be worked on at once, over all
// consumers that share it.
type Slots chan struct{}

// NewSlots returns a semaphore of n slots.
func NewSlots(n int) Slots { return make(Slots, n) }

// RunConfig says how to run a consumer.
type RunConfig struct {
	// Pull is how many messages this process holds at most, worked on or
	// waiting for a slot. It asks for more when half of them are settled, so with
	// twice as many as there are slots those need not wait for the broker.
	Pull int
	// Burst is how many it holds at most as long as they are settled within
	// milliseconds: the more come at once, the less each costs the broker. What is slow
	// should not wait here, where it cannot be handled elsewhere. 0: Pull.
	Burst int
	// Ask is how many it asks for at least, once there is room for them; 0: half
	// of Pull. It is for those who hold some for long while others are quick.
	Ask int
	// Bytes is about how many bytes of messages this process holds at most; no less
	// than [LargestMessage] are asked for. 0: any number.
	Bytes int64
	// Slots bounds how many of them are worked on at once: from when one is handed to
	// Handle until that returns, or calls [Held.Leave].
	Slots Slots
	// Open waits as long as nothing is to be taken, and returns a context that ends
	// when that is so again, or ctx ends. nil: messages are always taken.
	Open func(ctx context.Context) (context.Context, context.CancelFunc)
	// Ledger recognises what was finished before; nil for a stream of work,
	// which forgets what is acknowledged.
	Ledger *Ledger
	// Handle works on a message and settles it. It is called from many
	// goroutines. Its context ends when the process must stop at once.
	Handle func(ctx context.Context, h *Held)
}

// Run takes messages until the context fetch ends, gives back those that have
// not begun, and returns when the running ones are settled. Their context is
// work, which should end later than fetch. Trouble with the broker is waited
// out.
func (c *Consumer) Run(fetch, work context.Context, rc RunConfig) {
	r := &run{Consumer: c, RunConfig: rc, held: make(map[uint64]*Held), waiting: make(chan taken, max(rc.Pull, rc.Burst))}
	r.holding.freed = make(chan struct{}, 1)
	extending, stop := context.WithCancel(context.WithoutCancel(work))
	var extender sync.WaitGroup
	extender.Go(func() { r.extendAll(extending) })
	defer extender.Wait()
	defer stop()
	defer r.closeInbox()
	if rc.Ledger != nil {
		defer rc.Ledger.stopFollowing()
	}
	defer r.running.Wait()
	defer close(r.waiting)
	for fetch.Err() == nil {
		open, closed := fetch, func() {}
		if rc.Open != nil {
			open, closed = rc.Open(fetch)
		}
		r.take(open, work)
		r.giveBackWaiting(work)
		closed()
	}
}

// take takes messages until open ends.
func (r *run) take(open, work context.Context) {
	// The pause after trouble; it grows while the trouble lasts.
	pause := time.Duration(0)
	for open.Err() == nil {
		err := r.pull(open, work)
		switch {
		case err == nil:
			pause = 0
			continue
		case open.Err() != nil:
			return
		case pause > time.Second:
			r.b.log.Warn("cannot take messages, trying again", "stream", r.stream, "consumer", r.name, "error", err)
		}
		pause = min(max(2*pause, 50*time.Millisecond), 2*time.Second)
		select {
		case <-open.Done():
		case <-time.After(pause):
		}
	}
}

// run is one Consumer.Run.
type run struct {
	*Consumer
	RunConfig
	holding holding
	pace    pace
	waiting chan taken // messages that nobody works on yet
	running sync.WaitGroup
	idle    atomic.Int64 // goroutines that wait for a message to work on
	doubts  atomic.Int64 // messages of a stream of work that were doubtful
	inbox   *inbox       // nil until it is needed, and after trouble

	mu   sync.Mutex
	held map[uint64]*Held
}

// taken is a message, and the context that it was taken in: once that has ended it
// is not begun with.
type taken struct {
	open context.Context
	held *Held
}

// start puts a message to work.
func (r *run) start(open, work context.Context, msg *nats.Msg) {
	h, err := newHeld(msg)
	if err != nil {
		r.b.log.Error("the broker handed out a message without metadata", "stream", r.stream, "error", err)
		return
	}
	h.confirm = r.Ledger == nil
	r.mu.Lock()
	if already, ok := r.held[h.Seq]; ok && already.replace(msg) {
		// Its deadline passed while the broker was away. It is still being
		// worked on here; what is decided is told with the newer copy.
		r.mu.Unlock()
		return
	}
	r.held[h.Seq] = h
	r.mu.Unlock()
	r.pace.taken++
	r.holding.add(h)
	r.waiting <- taken{open, h} // there is a place for each that is held
	if len(r.waiting) > 0 {
		// Nobody waited for it.
		r.running.Go(func() { r.workOn(work) })
	}
}

// maxIdle is how many goroutines wait for a message to work on. Each is next in its turn: of
// a thousand, each would rest so long that its stack was given back and had to grow again.
const maxIdle = 256

// workOn works on one message after another.
func (r *run) workOn(work context.Context) {
	for t, ok := r.next(); ok; t, ok = r.next() {
		r.work(t.open, work, t.held)
		r.drop(t.held)
	}
}

// next waits for a message to work on; false: there will be none, or enough others wait.
func (r *run) next() (t taken, ok bool) {
	select {
	case t, ok = <-r.waiting:
		return t, ok
	default:
	}
	defer r.idle.Add(-1)
	if r.idle.Add(1) > maxIdle {
		return t, false
	}
	t, ok = <-r.waiting
	return t, ok
}

// giveBackWaiting gives back what nobody has begun with.
func (r *run) giveBackWaiting(work context.Context) {
	for {
		select {
		case t := <-r.waiting:
			r.settle(work, t.held, GiveBack)
			r.drop(t.held)
		default:
			return
		}
	}
}

// drop lets go of a message that is settled.
func (r *run) drop(h *Held) {
	r.mu.Lock()
	if r.held[h.Seq] == h {
		delete(r.held, h.Seq)
	}
	r.mu.Unlock()
	r.holding.drop(h)
}

// work waits for a slot and hands the message on, unless it must not be begun with.
// That is only asked once there is a slot: while the message waited, the connection
// may have been lost, and another process may have been handed it.
func (r *run) work(open, work context.Context, h *Held) {
	select {
	case <-open.Done():
		r.settle(work, h, GiveBack)
		return
	case r.Slots <- struct{}{}:
		h.slots = r.Slots
		defer h.Leave()
	}
	finished, begun, current := false, false, true
	if l := r.Ledger; l != nil {
		finished, begun, current = l.knows(h.Seq)
	}
	switch {
	case open.Err() != nil, !current:
		// Of a new connection: what was finished has to be read again.
		r.settle(work, h, GiveBack)
	case finished:
		r.settle(work, h, Ack)
	default:
		h.Touched, h.Doubtful = h.Deliveries > 1 || begun, r.doubtful(h)
		r.Handle(work, h)
	}
}

// doubtful is what [Held.Doubtful] says. A stream of work holds only what was begun
// with or is due, so there each of the first ones is.
func (r *run) doubtful(h *Held) bool {
	if r.Ledger != nil {
		return r.Ledger.doubts(h.Seq)
	}
	return r.doubts.Add(1) <= maxDoubts
}

func (r *run) settle(ctx context.Context, h *Held, v Verdict) {
	if err := h.Settle(ctx, v); err != nil {
		r.b.log.Debug("message left to its deadline", "error", err)
	}
}

// extendAll moves the deadlines of all held messages until ctx ends.
func (r *run) extendAll(ctx context.Context) {
	ticker := time.NewTicker(extendEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		r.mu.Lock()
		held := slices.Collect(maps.Values(r.held))
		r.mu.Unlock()
		for _, h := range held {
			if err := h.extend(); err != nil {
				r.b.log.Debug("deadline not extended", "stream", h.Stream, "seq", h.Seq, "error", err)
			}
		}
	}
}

func newHeld(msg *nats.Msg) (*Held, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	return &Held{
		Stream:     meta.Stream,
		Seq:        meta.Sequence.Stream,
		Subject:    msg.Subject,
		Header:     msg.Header,
		Data:       msg.Data,
		Stored:     meta.Timestamp,
		Deliveries: int(meta.NumDelivered),
		msg:        msg,
		until:      time.Now().Add(ackWait),
	}, nil
}
