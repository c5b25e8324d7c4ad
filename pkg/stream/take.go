package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// EnsureOrdered is [Broker.EnsureConsumer] for an ordered chain. Its consumer hands
// nothing out: it only remembers up to where all is finished, in this process by
// [Taken.Settled]. The events are read by the one process that owns the shard; see
// [Consumer.Take].
func (b *Broker) EnsureOrdered(ctx context.Context, c ConsumerConfig) (*Consumer, error) {
	if !c.Start.Earliest && c.Start.At.IsZero() {
		info, err := b.info(ctx, c.Stream)
		if err != nil {
			return nil, err
		}
		// The broker moves no consumer that begins with "new".
		c.Start.seq = info.State.LastSeq + 1
	}
	consumer, err := b.EnsureConsumer(ctx, c)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeConsumerExists {
		// Another process has just made it, from an event earlier or later.
		return b.EnsureConsumer(ctx, c)
	}
	return consumer, err
}

// HasConsumer tells whether a stream has a consumer of this name.
func (b *Broker) HasConsumer(ctx context.Context, stream, name string) (bool, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return false, err
	}
	switch _, err := s.Consumer(ctx, name); {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look up the consumer %s of %s: %w", name, stream, brokerError(err))
	}
	return true, nil
}

// Taken is a shard of an ordered chain in the hands of its owner.
type Taken struct {
	// Events are what the chain has not finished, in the order in which it is
	// stored; what is finished comes too, where it lies between, and is marked so.
	// The channel is read ahead by a few; it is not closed.
	Events <-chan *Held

	consumer *Consumer
	ledger   *Ledger
	filters  []string

	mu    sync.Mutex
	epoch uint64
	last  *Held // the last one that was read, without what is in it
}

// readAhead bounds what waits between the broker and a reader of [Taken.Events]:
// in messages, and in bytes.
const (
	readAhead      = 256
	readAheadBytes = 4 << 20
)

// Take makes this process the owner of the consumer's shard: nobody else can
// record anything in the ledger from then on, and lost is called when somebody else
// has taken it. What is finished is read from the ledger, and the events are read
// from the first one on that is not, until ctx ends.
func (c *Consumer) Take(ctx context.Context, l *Ledger, lost func()) (*Taken, error) {
	epoch := c.b.epoch()
	floor, err := l.take(ctx, c, lost)
	if err != nil {
		return nil, err
	}
	s, err := c.b.stream(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	// A newer configuration may have set other filters.
	filters := filtersOf(c.cons.CachedInfo().Config)
	cons, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: filters,
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    floor + 1,
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.stream, brokerError(err))
	}
	messages, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(readAhead, readAheadBytes))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.stream, brokerError(err))
	}
	events := make(chan *Held)
	t := &Taken{Events: events, consumer: c, ledger: l, filters: filters, epoch: epoch}
	// Stopping waits for the broker where it is away.
	context.AfterFunc(ctx, messages.Stop)
	go t.read(ctx, messages, events)
	return t, nil
}

func (t *Taken) read(ctx context.Context, messages jetstream.MessagesContext, events chan<- *Held) {
	for {
		msg, err := messages.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) || ctx.Err() != nil {
			return
		}
		if err == nil {
			var m *Stored
			if m, err = fromMsg(msg); err == nil {
				select {
				case events <- t.mark(m):
				case <-ctx.Done():
					return
				}
				continue
			}
		}
		// The iterator mends itself.
		t.consumer.b.log.Debug("reading an ordered chain's events", "stream", t.consumer.stream, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// mark tells of an event what the ledger knows.
func (t *Taken) mark(m *Stored) *Held {
	h := m.held()
	h.Finished, h.Touched, _ = t.ledger.knows(h.Seq)
	h.Doubtful = !h.Finished && t.ledger.doubts(h.Seq)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = &Held{Seq: h.Seq, Stored: h.Stored}
	return h
}

// held is a message that is handed out here for the first time. There is nothing to
// tell the broker about it.
func (m *Stored) held() *Held {
	return &Held{
		Stream: m.Stream, Seq: m.Seq, Subject: m.Subject, Header: m.Header, Data: m.Data,
		Stored: m.Time, Deliveries: 1,
	}
}

// Current fails with [ErrNotOwner] where the shard has to be taken anew, to read
// other events: the consumer selects other ones now; or the broker, to which the
// connection is a new one, has lost the end of its log in a crash and given its
// numbers to other events.
func (t *Taken) Current(ctx context.Context) error {
	c := t.consumer
	info, err := c.info(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(filtersOf(info.Config), t.filters) {
		return fmt.Errorf("%w: another configuration selects other events", ErrNotOwner)
	}
	epoch := c.b.epoch()
	t.mu.Lock()
	last, same := t.last, epoch == t.epoch
	t.mu.Unlock()
	if same || last == nil {
		return nil
	}
	m, err := c.b.Get(ctx, c.stream, last.Seq)
	switch {
	case errors.Is(err, ErrNotFound): // or purged: then there is no harm in it
		return fmt.Errorf("%w: the last event that was read is not stored", ErrNotOwner)
	case err != nil:
		return err
	case !m.Time.Equal(last.Stored):
		return fmt.Errorf("%w: the log has lost its end", ErrNotOwner)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epoch = epoch
	return nil
}

// Release ends the ownership, after the last record. What other runs of an event
// record is no business of an owner's from then on.
func (t *Taken) Release() {
	t.ledger.mu.Lock()
	defer t.ledger.mu.Unlock()
	t.ledger.fence = 0
}

// Read reads an event of the shard again. [ErrNotFound] if it is gone.
func (t *Taken) Read(ctx context.Context, seq uint64) (*Held, error) {
	m, err := t.consumer.b.Get(ctx, t.consumer.stream, seq)
	if err != nil {
		return nil, err
	}
	h := m.held()
	h.Touched = true
	return h, nil
}

// Settled tells the broker that all up to seq is finished, so that the events may
// be purged and the next owner begins after them.
func (t *Taken) Settled(ctx context.Context, seq uint64) error {
	c := t.consumer
	if _, err := c.b.js.ResetConsumerToSequence(ctx, c.stream, c.name, seq+1); err != nil {
		return fmt.Errorf("move the consumer %s on %s to %d: %w", c.name, c.stream, seq+1, brokerError(err))
	}
	t.ledger.forget(seq)
	return nil
}

// take makes this process the only writer of the ledger, until another one takes
// it, and reads what is finished above the consumer's ack floor. The owner before
// may still write until the broker has stored our fence, and nothing after, so
// what is read up to the fence is all there is.
func (l *Ledger) take(ctx context.Context, c *Consumer, lost func()) (floor uint64, err error) {
	fence, err := l.b.Publish(ctx, Message{Subject: l.fences})
	if err != nil {
		return 0, err
	}
	floor, tail, since, err := c.unfinished(ctx)
	if err != nil {
		return 0, err
	}
	begun, err := l.readBegun(ctx, floor)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	l.fence, l.lost = fence.Seq, lost
	l.finished, l.begun = make(seqset), begun
	l.before, l.doubtful = tail, 0
	l.mu.Unlock()
	if floor >= tail {
		return floor, nil // nothing is stored that could be finished
	}
	return floor, l.readUpTo(ctx, fence.Seq, since)
}

// readBegun reads which events above the floor have an entry in PROGRESS. The
// leader is asked, because a replica may lag behind what the owner before has
// written.
func (l *Ledger) readBegun(ctx context.Context, floor uint64) (seqset, error) {
	prefix := progressSubjects(l.chain)
	kept, err := l.b.Subjects(ctx, bucketStream(Progress), fmt.Sprintf("%s%d.>", prefix, l.shard))
	if err != nil {
		return nil, fmt.Errorf("read where the chain %s stands: %w", l.chain, err)
	}
	begun := make(seqset)
	for subject := range kept {
		if place, err := ParsePlace(strings.TrimPrefix(subject, prefix)); err == nil && place.Run == 0 && place.Seq > floor {
			begun.add(place.Seq)
		}
	}
	return begun, nil
}

// readUpTo reads the records from the time since up to the fence.
func (l *Ledger) readUpTo(ctx context.Context, fence uint64, since time.Time) error {
	s, err := l.b.stream(ctx, Done)
	if err != nil {
		return err
	}
	cons, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{l.subject, l.fences},
		DeliverPolicy:  jetstream.DeliverByStartTimePolicy,
		OptStartTime:   &since,
	})
	if err != nil {
		return fmt.Errorf("read the ledger %s: %w", l.subject, brokerError(err))
	}
	messages, err := cons.Messages()
	if err != nil {
		return fmt.Errorf("read the ledger %s: %w", l.subject, brokerError(err))
	}
	defer context.AfterFunc(ctx, messages.Stop)()
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextMaxWait(requestTimeout))
		if err != nil {
			return fmt.Errorf("read the ledger %s: %w", l.subject, brokerError(err))
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read the ledger %s: %w", l.subject, err)
		}
		if msg.Subject() == l.subject {
			var records []Record
			if err := json.Unmarshal(msg.Data(), &records); err != nil {
				l.b.log.Error("a record of the ledger cannot be read", "subject", l.subject, "error", err)
			}
			l.add(records)
		}
		if meta.Sequence.Stream >= fence {
			return nil
		}
	}
}

// The headers that make the broker refuse a message unless the last one of
// another subject is the expected one.
const (
	headerLastSeq     = "Nats-Expected-Last-Subject-Sequence"
	headerLastSubject = "Nats-Expected-Last-Subject-Sequence-Subject"
)

// publish stores a group of records. With a fence it is refused once another
// process has set its own.
func (l *Ledger) publish(ctx context.Context, data []byte) error {
	// A broker that has died meanwhile never answers, and the next one would not be
	// asked.
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	l.mu.Lock()
	fence, lost := l.fence, l.lost
	l.mu.Unlock()
	m := Message{Subject: l.subject, Header: map[string][]string{headerWriter: {l.id}}, Data: data}
	if fence != 0 {
		m.Header[headerLastSeq] = []string{strconv.FormatUint(fence, 10)}
		m.Header[headerLastSubject] = []string{l.fences}
	}
	_, err := l.b.Publish(ctx, m)
	if fence != 0 && errors.Is(err, ErrConflict) {
		lost()
		return fmt.Errorf("%w: %w", ErrNotOwner, err)
	}
	return err
}

func (l *Ledger) forget(floor uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished.dropBelow(floor)
	l.begun.dropBelow(floor)
}
