package ceiling

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// Consume takes the messages of a stream from the first on, calls handle with each
// from so many goroutines, and acknowledges it, until ctx ends.
func (p *Publisher) Consume(ctx context.Context, stream string, goroutines int, handle func(header map[string][]string, data []byte)) error {
	consumer, err := p.js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: "bare", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10_000,
	})
	if err != nil {
		return fmt.Errorf("set up a consumer: %w", err)
	}
	taken := make(chan jetstream.Msg)
	var running sync.WaitGroup
	for range goroutines {
		running.Go(func() {
			for m := range taken {
				handle(m.Headers(), m.Data())
				_ = m.Ack() // what is not acknowledged comes again
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
