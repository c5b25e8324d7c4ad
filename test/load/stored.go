package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/belay-hooks/belay/pkg/stream"
)

// readTimeout bounds how long the next message of a stream may take.
const readTimeout = 20 * time.Second

// Stored counts how often each webhook is stored at the broker, by its number.
// Nothing may be sent meanwhile. It fails if there is a message with another
// body.
func Stored(ctx context.Context, url string, shards int) (map[uint64]int, error) {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	count := make(map[uint64]int)
	for shard := range shards {
		if err := read(ctx, js, stream.In(shard), count); err != nil {
			return nil, fmt.Errorf("read %s: %w", stream.In(shard), err)
		}
	}
	return count, nil
}

func read(ctx context.Context, js jetstream.JetStream, name string, count map[uint64]int) error {
	s, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // lost, with all that was in it
	}
	if err != nil {
		return err
	}
	last := s.CachedInfo().State.LastSeq
	if s.CachedInfo().State.Msgs == 0 {
		return nil
	}
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextMaxWait(readTimeout))
		if err != nil {
			return err
		}
		at, err := m.Metadata()
		if err != nil {
			return err
		}
		n, err := numberOf([]byte(m.Headers().Get(jetstream.MsgIDHeader)))
		if err != nil {
			return err
		}
		if !bytes.Equal(m.Data(), Body) {
			return fmt.Errorf("%s is stored with another body", ID(n))
		}
		count[n]++
		if at.Sequence.Stream >= last {
			return nil
		}
	}
}
