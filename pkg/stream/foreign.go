package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// ErrNoStream: no stream takes the subject.
var ErrNoStream = errors.New("no stream takes the subject")

// PublishForeign stores a message in a stream that is not one of Belay's. It fails
// with [ErrNoStream] where nobody listens on the subject.
func (b *Broker) PublishForeign(ctx context.Context, m Message) error {
	_, err := b.Publish(ctx, m)
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("publish to %s: %w", m.Subject, ErrNoStream)
	}
	return err
}

// PublishCore hands a message to those who subscribe to its subject at this moment,
// whether there are any or not. It returns once the server has it.
func (b *Broker) PublishCore(ctx context.Context, m Message) error {
	if err := b.nc.PublishMsg(m.msg()); err != nil {
		return fmt.Errorf("publish to %s: %w", m.Subject, brokerError(err))
	}
	if err := b.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("publish to %s: %w", m.Subject, brokerError(err))
	}
	return nil
}
