package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Range selects messages of a stream.
type Range struct {
	Stream string
	// Filters are the subjects; none: all. They must not overlap.
	Filters []string
	// FromSeq is the first number to look at; From the time that the first message
	// was stored at or after. Neither: the oldest.
	FromSeq uint64
	From    time.Time
	// HeadersOnly leaves the data at the broker; [Stored.Size] tells how much it is.
	HeadersOnly bool
}

const (
	// scanPrefix begins the names of the consumers of a moment.
	scanPrefix = "scan-"
	// scanBatch is how many messages are asked for ahead.
	scanBatch = 2000
	// scanStill is how long a scan waits for the next message.
	scanStill = 3 * time.Second
	// scanIdle is when the broker forgets the scan of a process that died.
	scanIdle = 30 * time.Second
	// headerSize is what the broker says of the data that it leaves out.
	headerSize = "Nats-Msg-Size"
)

// Scan hands the messages that the range holds when it is called to each, in
// order, until each says that it wants no more.
func (b *Broker) Scan(ctx context.Context, r Range, each func(*Stored) (more bool)) error {
	cons, drop, err := b.look(ctx, r)
	if err != nil {
		return err
	}
	defer drop()
	left := cons.CachedInfo().NumPending
	if left == 0 {
		return nil
	}
	messages, err := cons.Messages(jetstream.PullMaxMessages(scanBatch), jetstream.PullExpiry(pullFor), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return fmt.Errorf("read %s: %w", r.Stream, brokerError(err))
	}
	defer messages.Stop()
	for ; left > 0; left-- {
		msg, err := nextOf(ctx, messages)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			// What is missing was removed meanwhile, or the broker is away.
			info, err := cons.Info(ctx)
			if err != nil || info.NumPending > 0 {
				return fmt.Errorf("read %s: nothing comes: %w", r.Stream, ErrUnavailable)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", r.Stream, brokerError(err))
		}
		m, err := fromMsg(msg)
		if err != nil {
			return fmt.Errorf("read %s: %w", r.Stream, brokerError(err))
		}
		if !each(m) {
			return nil
		}
	}
	return nil
}

// nextOf waits for the next message for as long as a scan may stand still.
func nextOf(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, scanStill)
	defer cancel()
	return messages.Next(jetstream.NextContext(ctx))
}

// Count is how many messages the range holds.
func (b *Broker) Count(ctx context.Context, r Range) (uint64, error) {
	cons, drop, err := b.look(ctx, r)
	if err != nil {
		return 0, err
	}
	defer drop()
	return cons.CachedInfo().NumPending, nil
}

// look makes a consumer that settles nothing, and what removes it again.
func (b *Broker) look(ctx context.Context, r Range) (jetstream.Consumer, func(), error) {
	s, err := b.stream(ctx, r.Stream)
	if err != nil {
		return nil, nil, err
	}
	config := jetstream.ConsumerConfig{
		Name: scanPrefix + nuid.Next(), AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		FilterSubjects: r.Filters, HeadersOnly: r.HeadersOnly,
		InactiveThreshold: scanIdle, MemoryStorage: true, Replicas: 1,
	}
	switch {
	case r.FromSeq > 0:
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, r.FromSeq
	case !r.From.IsZero():
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &r.From
	}
	cons, err := s.CreateConsumer(ctx, config)
	if err != nil {
		return nil, nil, fmt.Errorf("look through %s: %w", r.Stream, brokerError(err))
	}
	return cons, func() {
		// Also when the caller has gone: the broker allows only so many.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		if err := s.DeleteConsumer(ctx, config.Name); err != nil {
			b.log.Debug("a scan is left to the broker to forget", "stream", r.Stream, "error", err)
		}
	}, nil
}

func fromMsg(msg jetstream.Msg) (*Stored, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	m := &Stored{
		Stream: meta.Stream, Subject: msg.Subject(), Header: msg.Headers(), Data: msg.Data(),
		Seq: meta.Sequence.Stream, Time: meta.Timestamp,
	}
	return m, nil
}

// Size is the size of the data in bytes, also where a scan left it out. A body in
// parts stands beside its message and is not counted.
func (m *Stored) Size() int {
	if text := m.Header[headerSize]; len(text) > 0 {
		if n, err := strconv.Atoi(text[0]); err == nil {
			return n
		}
	}
	return len(m.Data)
}

// Bounds are the numbers of the oldest and of the newest message of a stream. An
// empty stream has first = last + 1.
func (b *Broker) Bounds(ctx context.Context, stream string) (first, last uint64, err error) {
	info, err := b.info(ctx, stream)
	if err != nil {
		return 0, 0, err
	}
	return info.State.FirstSeq, info.State.LastSeq, nil
}

// SeqAt is the number of the first message of a stream that was stored at a time
// or later; that of the next one to come if there is none.
func (b *Broker) SeqAt(ctx context.Context, stream string, at time.Time) (uint64, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	info, err := b.info(ctx, stream)
	if err != nil {
		return 0, err
	}
	return olderThan(ctx, s, info.State, at)
}

// Subjects tells how many messages a stream holds of each subject that the filter
// selects. It is for filters that select few.
func (b *Broker) Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error) {
	info, err := b.info(ctx, stream, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, err
	}
	return info.State.Subjects, nil
}

// Delete removes a message and the parts of its body. With overwrite their bytes
// on the disk are overwritten. A message that is gone is no error.
func (b *Broker) Delete(ctx context.Context, m *Stored, overwrite bool) error {
	s, err := b.stream(ctx, m.Stream)
	if err != nil {
		return err
	}
	remove := s.DeleteMsg
	if overwrite {
		remove = s.SecureDeleteMsg
	}
	// The message goes last: it tells where the parts are.
	for seq := m.Seq - partsOf(m); seq <= m.Seq; seq++ {
		if err := remove(ctx, seq); err != nil {
			// The broker has several ways to say that it is gone.
			if _, there := b.Get(ctx, m.Stream, seq); errors.Is(there, ErrNotFound) {
				continue
			}
			return fmt.Errorf("delete message %d of %s: %w", seq, m.Stream, brokerError(err))
		}
	}
	return b.flushed(ctx)
}

// partsOf is the number of messages before m that hold its body.
func partsOf(m *Stored) uint64 {
	if text := m.Header[headerParts]; len(text) > 0 {
		if n, err := strconv.ParseUint(text[0], 10, 16); err == nil && n < m.Seq {
			return n
		}
	}
	return 0
}
