package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Consumer returns a consumer that exists, as it is. [ErrNotFound] if it does not.
func (b *Broker) Consumer(ctx context.Context, stream, name string) (*Consumer, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	cons, err := s.Consumer(ctx, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, fmt.Errorf("consumer %s of %s: %w", name, stream, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("look up the consumer %s of %s: %w", name, stream, brokerError(err))
	}
	return &Consumer{b: b, stream: stream, name: name, cons: cons, filters: filtersOf(cons.CachedInfo().Config)}, nil
}

// Standing is how far a consumer is.
type Standing struct {
	// Name of the consumer, and what it selects.
	Name    string
	Filters []string
	// Pending is how many messages it has not handed out yet, Held how many it has
	// handed out that are not settled: they are handled, or wait for a short retry.
	Pending uint64
	Held    int
	// Delivered is the last message that it has handed out; all up to Floor is
	// settled.
	Delivered, Floor uint64
}

func standing(info *jetstream.ConsumerInfo) Standing {
	return Standing{
		Name: info.Name, Filters: filtersOf(info.Config), Pending: info.NumPending, Held: info.NumAckPending,
		Delivered: info.Delivered.Stream, Floor: info.AckFloor.Stream,
	}
}

// Standing tells how far the consumer is.
func (c *Consumer) Standing(ctx context.Context) (Standing, error) {
	info, err := c.info(ctx)
	if err != nil {
		return Standing{}, err
	}
	return standing(info), nil
}

// Standings tells how far all consumers of a stream are.
func (b *Broker) Standings(ctx context.Context, stream string) ([]Standing, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	var all []Standing
	list := s.ListConsumers(ctx)
	for info := range list.Info() {
		all = append(all, standing(info))
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list the consumers of %s: %w", stream, brokerError(err))
	}
	return all, nil
}

// RemoveConsumer removes a consumer, whether it exists or not.
func (b *Broker) RemoveConsumer(ctx context.Context, stream, name string) error {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return err
	}
	if err := s.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("remove the consumer %s of %s: %w", name, stream, brokerError(err))
	}
	return nil
}
