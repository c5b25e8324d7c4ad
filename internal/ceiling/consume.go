package ceiling

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// Work is how a stream's messages are taken.
type Work struct {
	// Stream is its name.
	Stream string
	// Goroutines is how many messages are handled at once.
	Goroutines int
	// Confirmed says that the broker confirms each acknowledgement, without which a
	// message may be handled again though it was acknowledged.
	Confirmed bool
}

// Consume takes the messages of a stream from the first on, calls handle with each,
// and acknowledges it, until ctx ends.
func (p *Publisher) Consume(ctx context.Context, w Work, handle func(header map[string][]string, data []byte)) error {
	consumer, err := p.js.CreateConsumer(ctx, w.Stream, jetstream.ConsumerConfig{
		Durable: "bare", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10_000,
	})
	if err != nil {
		return fmt.Errorf("set up a consumer: %w", err)
	}
	taken := make(chan jetstream.Msg)
	var running sync.WaitGroup
	for range w.Goroutines {
		running.Go(func() {
			for m := range taken {
				handle(m.Headers(), m.Data())
				// What is not acknowledged comes again.
				if w.Confirmed {
					_ = m.DoubleAck(ctx)
				} else {
					_ = m.Ack()
				}
			}
		})
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		select {
		case taken <- m:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxMessages(500))
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	<-ctx.Done()
	consuming.Stop()
	<-consuming.Closed()
	close(taken)
	running.Wait()
	return nil
}
