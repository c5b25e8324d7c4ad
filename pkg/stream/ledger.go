package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Record says that a chain has finished with an event: a line of its history.
type Record struct {
	// Seq is the event's place in its IN stream.
	Seq uint64 `json:"seq"`
	// Run of the event in this chain; 0 for what came in.
	Run int `json:"run,omitempty"`
	// Outcome: done, responded, dead, …
	Outcome string `json:"outcome"`
	// Steps that ran since the last record of the event.
	Steps []StepRecord `json:"steps,omitempty"`
	// Attempts that it took in all.
	Attempts int `json:"attempts,omitempty"`
	// Status of the Response that ended the chain; 0 for none.
	Status int `json:"status,omitempty"`
}

// StepRecord says that a handler ran.
type StepRecord struct {
	Name string `json:"name"`
	// Took is how long it ran.
	Took time.Duration `json:"took_ns"`
}

// Ledger is what one chain has finished in one shard: the messages of its
// subject in DONE, each of which holds the records of a group. By it an event
// is recognised that the broker hands out again though it was acknowledged,
// which a single broker does after a crash.
type Ledger struct {
	b       *Broker
	subject string

	records groups[ledgerEntry]

	mu       sync.Mutex
	finished map[uint64]struct{}
	follower jetstream.MessagesContext
	loaded   bool
	epoch    uint64 // of the connection that finished was read in
	pruned   time.Time

	tail atomic.Uint64 // the last message of the stream when finished was read
}

// maxGroup bounds the records of one message.
const maxGroup = 1000

// Ledger returns the ledger of a chain in a shard. One process needs one of each.
func (b *Broker) Ledger(chain string, shard int) *Ledger {
	l := &Ledger{b: b, subject: DoneSubject(chain, shard), finished: make(map[uint64]struct{})}
	l.records.commit, l.records.limit = l.write, maxGroup
	return l
}

// ledgerEntry is a record on its way into the ledger.
type ledgerEntry struct {
	ctx    context.Context // how long its writer waits out an outage
	record Record
}

// Record writes that an event is finished and returns once that is stored.
// Records that arrive while others are being written share one message. An
// outage of the broker is waited out until ctx ends.
func (l *Ledger) Record(ctx context.Context, r Record) error {
	return l.records.add(ledgerEntry{ctx, r})
}

func (l *Ledger) write(entries []ledgerEntry) error {
	records := make([]Record, len(entries))
	for i, e := range entries {
		records[i] = e.record
	}
	data, err := json.Marshal(records)
	if err != nil {
		return fmt.Errorf("write the ledger %s: %w", l.subject, err)
	}
	if half := len(entries) / 2; half > 0 && len(data) > MaxInline {
		if err := l.write(entries[:half]); err != nil {
			return err
		}
		return l.write(entries[half:])
	}
	// All of a group are of one worker, whose handlers end together.
	ctx := entries[0].ctx
	if err := WaitOut(ctx, func() error {
		_, err := l.b.Publish(ctx, Message{Subject: l.subject, Data: data})
		return err
	}); err != nil {
		return err
	}
	l.add(records)
	return nil
}

func (l *Ledger) add(records []Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range records {
		// Other runs of an event come from elsewhere than its IN stream.
		if r.Run == 0 {
			l.finished[r.Seq] = struct{}{}
		}
	}
}

// knows tells whether a message is finished. The answer holds only if it is
// current: of the connection that the message was handed out in.
func (l *Ledger) knows(seq uint64) (finished, current bool) {
	epoch := l.b.epoch()
	l.mu.Lock()
	defer l.mu.Unlock()
	_, finished = l.finished[seq]
	return finished, l.loaded && l.epoch == epoch
}

// load reads what is finished above the consumer's ack floor, once in every
// connection to the broker, and follows what other processes add.
func (l *Ledger) load(ctx context.Context, c *Consumer) error {
	epoch := l.b.epoch()
	l.mu.Lock()
	current := l.loaded && l.epoch == epoch
	l.mu.Unlock()
	if current {
		return l.prune(ctx, c)
	}
	l.stopFollowing()
	floor, tail, since, err := c.unfinished(ctx)
	if err != nil {
		return err
	}
	messages, progress, err := l.follow(ctx, since)
	if err != nil {
		return err
	}
	for caught := false; !caught; {
		select {
		case <-ctx.Done():
			messages.Stop()
			return context.Cause(ctx)
		case <-time.After(requestTimeout):
			messages.Stop()
			return fmt.Errorf("read the ledger %s: %w", l.subject, ErrUnavailable)
		case _, more := <-progress:
			caught = !more
		}
	}
	l.tail.Store(tail)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.follower, l.loaded, l.epoch = messages, true, epoch
	l.dropBelow(floor)
	return nil
}

// follow reads the ledger's messages from the time since on, until it is
// stopped. The channel tells now and then that it gets on, and is closed when it
// has read what there was at the start.
func (l *Ledger) follow(ctx context.Context, since time.Time) (jetstream.MessagesContext, <-chan struct{}, error) {
	s, err := l.b.stream(ctx, Done)
	if err != nil {
		return nil, nil, err
	}
	cons, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{l.subject},
		DeliverPolicy:  jetstream.DeliverByStartTimePolicy,
		OptStartTime:   &since,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the ledger %s: %w", l.subject, brokerError(err))
	}
	messages, err := cons.Messages()
	if err != nil {
		return nil, nil, fmt.Errorf("read the ledger %s: %w", l.subject, brokerError(err))
	}
	progress := make(chan struct{}, 1)
	pending := cons.CachedInfo().NumPending
	if pending == 0 {
		close(progress)
	}
	go func() {
		for read := uint64(0); ; {
			msg, err := messages.Next()
			if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
				return
			}
			if err != nil {
				// The iterator mends itself; a new connection reads all again.
				l.b.log.Debug("following the ledger", "subject", l.subject, "error", err)
				continue
			}
			var records []Record
			if err := json.Unmarshal(msg.Data(), &records); err != nil {
				l.b.log.Error("a record of the ledger cannot be read", "subject", l.subject, "error", err)
			}
			l.add(records)
			switch read++; {
			case read == pending:
				close(progress)
			case read < pending:
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		}
	}()
	return messages, progress, nil
}

func (l *Ledger) stopFollowing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loaded = false
	if l.follower != nil {
		l.follower.Stop()
		l.follower = nil
	}
}

const (
	pruneEvery = time.Minute
	// pruneMargin is how many finished messages below the ack floor are kept in
	// mind: acknowledgements that are on their way when a broker fails.
	pruneMargin = 10_000
)

// prune forgets, now and then, what the broker has long stopped handing out.
func (l *Ledger) prune(ctx context.Context, c *Consumer) error {
	l.mu.Lock()
	due := time.Since(l.pruned) > pruneEvery
	l.mu.Unlock()
	if !due {
		return nil
	}
	info, err := c.cons.Info(ctx)
	if err != nil {
		return brokerError(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropBelow(max(info.AckFloor.Stream, pruneMargin) - pruneMargin)
	return nil
}

// dropBelow forgets what is at or below the floor. It is called with the lock.
func (l *Ledger) dropBelow(floor uint64) {
	for seq := range l.finished {
		if seq <= floor {
			delete(l.finished, seq)
		}
	}
	l.pruned = time.Now()
}

// clockSkew is how far the clocks may differ of the brokers that lead IN and
// DONE, and of this process.
const clockSkew = 10 * time.Second

// unfinished tells where the consumer stands: all up to floor is settled, tail
// is the newest message, and none of the unsettled ones was finished before since.
func (c *Consumer) unfinished(ctx context.Context) (floor, tail uint64, since time.Time, err error) {
	info, err := c.cons.Info(ctx)
	if err != nil {
		return 0, 0, since, fmt.Errorf("look up the consumer %s: %w", c.name, brokerError(err))
	}
	s, err := c.b.stream(ctx, c.stream)
	if err != nil {
		return 0, 0, since, err
	}
	state, err := s.Info(ctx)
	if err != nil {
		return 0, 0, since, fmt.Errorf("look up the stream %s: %w", c.stream, brokerError(err))
	}
	floor, tail = info.AckFloor.Stream, state.State.LastSeq
	m, err := s.GetMsg(ctx, floor+1, jetstream.WithGetMsgSubject(">"))
	switch err = brokerError(err); {
	case errors.Is(err, ErrNotFound):
		return floor, tail, time.Now().Add(-clockSkew), nil // nothing is unsettled
	case err != nil:
		return 0, 0, since, fmt.Errorf("look up message %d of %s: %w", floor+1, c.stream, err)
	}
	return floor, tail, m.Time.Add(-clockSkew), nil
}
