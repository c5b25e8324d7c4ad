package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A following reads the messages of a subject as they are stored, until its messages
// are stopped.
type following struct {
	messages jetstream.MessagesContext
	subject  string
	// progress tells now and then that it gets on, and is closed when it has read
	// what there was at the start.
	progress chan struct{}
}

// follow calls read with the messages of a subject from the time since on, one
// after another; without their data if bare. Those that are stored from now on are
// live.
func (b *Broker) follow(ctx context.Context, stream, subject string, since time.Time, bare bool, read func(m jetstream.Msg, live bool)) (*following, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	cons, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject},
		DeliverPolicy:  jetstream.DeliverByStartTimePolicy,
		OptStartTime:   &since,
		HeadersOnly:    bare,
	})
	if err != nil {
		return nil, fmt.Errorf("follow %s: %w", subject, brokerError(err))
	}
	f := &following{subject: subject, progress: make(chan struct{}, 1)}
	if f.messages, err = cons.Messages(); err != nil {
		return nil, fmt.Errorf("follow %s: %w", subject, brokerError(err))
	}
	pending := cons.CachedInfo().NumPending
	if pending == 0 {
		close(f.progress)
	}
	go f.run(b, pending, read)
	return f, nil
}

func (f *following) run(b *Broker, pending uint64, read func(m jetstream.Msg, live bool)) {
	for n := uint64(0); ; {
		msg, err := f.messages.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return
		}
		if err != nil {
			// The iterator mends itself; a new connection reads all again.
			b.log.Debug("following what is stored", "subject", f.subject, "error", err)
			continue
		}
		read(msg, n >= pending)
		switch n++; {
		case n == pending:
			close(f.progress)
		case n < pending:
			select {
			case f.progress <- struct{}{}:
			default:
			}
		}
	}
}

// wait returns when what there was at the start has been read.
func (f *following) wait(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(requestTimeout):
			return fmt.Errorf("follow %s: nothing comes: %w", f.subject, ErrUnavailable)
		case _, more := <-f.progress:
			if !more {
				return nil
			}
		}
	}
}
