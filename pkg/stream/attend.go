package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// attendSubject is where the workers of a chain are asked whether there are any. No
// stream keeps it: who is there answers at once.
func attendSubject(chain string) string { return "belay.attend." + chain }

// attendTimeout is how long a worker may take to say that it is there.
const attendTimeout = time.Second

// Attend says to who asks that this process runs a chain, until leave is called.
func (b *Broker) Attend(chain string) (leave func(), err error) {
	sub, err := b.nc.Subscribe(attendSubject(chain), func(m *nats.Msg) {
		if err := m.Respond(nil); err != nil {
			b.log.Debug("who asks for the workers of a chain is not answered", "chain", chain, "error", err)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("say that the chain %s is run: %w", chain, brokerError(err))
	}
	return func() { _ = sub.Unsubscribe() }, nil // of a closed connection: nobody asks it
}

// Attended asks whether some process runs a chain, paused or not. One that does not
// say that it does in time is one that does.
func (b *Broker) Attended(ctx context.Context, chain string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, attendTimeout)
	defer cancel()
	_, err := b.nc.RequestWithContext(ctx, attendSubject(chain), nil)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return false, nil
	case err == nil, errors.Is(err, context.DeadlineExceeded):
		return true, nil
	}
	return false, fmt.Errorf("ask who runs the chain %s: %w", chain, brokerError(err))
}
