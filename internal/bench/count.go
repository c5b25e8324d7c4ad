package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Count compares what was accepted with what is stored.
type Count struct {
	// Accepted is how many webhooks were answered with 2xx, once for each id, and
	// Stored how many messages the stream holds.
	Accepted, Stored uint64
	// Missing were accepted and are not stored; Twice are stored more than once.
	// Both are lies of the server.
	Missing, Twice uint64
	// Unanswered are stored, and were not answered with 2xx: their sender sends
	// them again.
	Unanswered uint64
}

// Holds reports whether every 2xx is stored, and nothing twice.
func (c Count) Holds() bool { return c.Missing == 0 && c.Twice == 0 }

// readTimeout bounds how long the next message of a stream may take.
const readTimeout = 10 * time.Second

// Count reads the stream to its end. Nothing may be sent meanwhile.
func (g *Generator) Count(ctx context.Context, url, stream string) (Count, error) {
	stored := make([]uint8, g.number.Load()+1)
	total, err := readNumbers(ctx, url, stream, stored)
	if err != nil {
		return Count{}, fmt.Errorf("count what is stored: %w", err)
	}
	accepted := make([]bool, len(stored))
	for _, s := range g.senders {
		for _, n := range s.accepted {
			accepted[n] = true
		}
	}
	c := Count{Stored: total}
	for n, ok := range accepted {
		switch {
		case ok:
			c.Accepted++
			if stored[n] == 0 {
				c.Missing++
			}
		case stored[n] > 0:
			c.Unanswered++
		}
		if stored[n] > 1 {
			c.Twice++
		}
	}
	return c, nil
}

// readNumbers counts into stored the numbers of the delivery ids in the stream.
func readNumbers(ctx context.Context, url, stream string, stored []uint8) (total uint64, err error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return 0, err
	}
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	last := s.CachedInfo().State.LastSeq
	if last == 0 {
		return 0, nil
	}
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{HeadersOnly: true})
	if err != nil {
		return 0, err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return 0, err
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextMaxWait(readTimeout))
		if err != nil {
			return 0, err
		}
		at, err := m.Metadata()
		if err != nil {
			return 0, err
		}
		n, ok := numberOf(m.Headers().Get(jetstream.MsgIDHeader))
		if !ok || n >= uint64(len(stored)) {
			return 0, errors.New("a message is not of this load")
		}
		stored[n] = min(stored[n]+1, 2)
		total++
		if at.Sequence.Stream >= last {
			return total, nil
		}
	}
}
