package outbox

import (
	"context"
	"sync"

	"github.com/belay-hooks/belay/pkg/stream"
)

const (
	// maxBatch is the broker's limit of messages in one batch.
	maxBatch = 1000
	// maxBatchBytes bounds what the broker has to hold until a batch is complete.
	maxBatchBytes = 8 << 20
)

// batches writes to one OUT stream. A batch costs a single broker several
// flushes to the disk however small it is, so fan-outs that have something to
// write while a batch is being written share the next one. What each of them
// has still is stored as a whole or not at all.
type batches struct {
	broker *stream.Broker

	writing sync.Mutex // held while a batch is written

	mu   sync.Mutex
	next *shared // gathers until the batch before it is written
}

// shared is one batch of many fan-outs.
type shared struct {
	messages []stream.Message
	bytes    int
	done     chan struct{}
	err      error
}

// publish stores the messages together, at most maxBatch of them. If it fails it
// is not known whether they are stored.
func (b *batches) publish(ctx context.Context, messages []stream.Message) error {
	bytes := 0
	for _, m := range messages {
		bytes += len(m.Data)
	}
	b.mu.Lock()
	s := b.next
	leads := s == nil || len(s.messages)+len(messages) > maxBatch || s.bytes+bytes > maxBatchBytes
	if leads {
		s = &shared{done: make(chan struct{})}
		b.next = s
	}
	s.messages = append(s.messages, messages...)
	s.bytes += bytes
	b.mu.Unlock()
	if leads {
		b.write(ctx, s)
	}
	<-s.done // the one who leads ends with its context, which is everybody's
	return s.err
}

func (b *batches) write(ctx context.Context, s *shared) {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	if b.next == s {
		b.next = nil
	}
	b.mu.Unlock()
	s.err = b.broker.PublishBatch(ctx, s.messages)
	close(s.done)
}
