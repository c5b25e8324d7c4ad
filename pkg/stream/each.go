package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
)

// confirmations are where the broker confirms what is published many at a time: one
// subscription of the process, made with the first.
type confirmations struct {
	mu      sync.Mutex
	prefix  string // of the subjects; empty until it is subscribed to
	number  uint64
	waiting map[string]*lot // by subject
}

// A lot is messages that are confirmed one by one, and waited for together.
type lot struct {
	left int // how many are not confirmed yet
	err  error
	done chan struct{} // is closed once all are confirmed, or one is refused
}

// PublishEach stores messages, of one stream in their order, and returns once the
// broker has confirmed all of them. None waits for the confirmation of the one before
// it. If it fails, it is not known which ones are stored: usually a first part of them.
func (b *Broker) PublishEach(ctx context.Context, messages []Message) error {
	if len(messages) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	l := &lot{left: len(messages), done: make(chan struct{})}
	reply, err := b.confirmations.expect(b.nc, l)
	if err != nil {
		return err
	}
	defer b.confirmations.forget(reply)
	for _, m := range messages {
		msg := m.msg()
		msg.Reply = reply
		if err := b.nc.PublishMsg(msg); err != nil {
			return fmt.Errorf("publish to %s: %w", m.Subject, brokerError(err))
		}
	}
	select {
	case <-l.done:
		err = l.err
	case <-ctx.Done():
		err = brokerError(context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("publish %d messages, the first to %s: %w", len(messages), messages[0].Subject, err)
	}
	return b.flushed(ctx)
}

// maxTogether bounds a group of [Broker.PublishTogether].
const maxTogether = 256

// PublishTogether stores a message together with those that others store at the same time:
// they are sent in one go, and confirmed in one. If one of them is not stored it fails for
// all, with [ErrUnavailable]: it is not known which ones are. So it does when ctx ends.
func (b *Broker) PublishTogether(ctx context.Context, m Message) error {
	err := b.together.addWithin(ctx, m)
	if err != nil && !errors.Is(err, ErrUnavailable) {
		err = join(ErrUnavailable, err)
	}
	return err
}

// newTogether makes the groups of [Broker.PublishTogether]. A group has no context, as each
// of its members has another: [Broker.PublishEach] bounds it.
func (b *Broker) newTogether() *groups[Message] {
	return &groups[Message]{limit: maxTogether, commit: func(all []Message) error {
		return b.PublishEach(context.Background(), all)
	}}
}

// expect returns the subject that a lot is confirmed under.
func (c *confirmations) expect(nc *nats.Conn, l *lot) (reply string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.prefix == "" {
		prefix := nc.NewInbox() + "."
		if _, err := nc.Subscribe(prefix+"*", c.take); err != nil {
			return "", fmt.Errorf("subscribe to confirmations: %w", brokerError(err))
		}
		c.prefix, c.waiting = prefix, make(map[string]*lot)
	}
	c.number++
	reply = c.prefix + strconv.FormatUint(c.number, 10)
	c.waiting[reply] = l
	return reply, nil
}

func (c *confirmations) forget(reply string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, reply)
}

// take counts a confirmation. One that nobody waits for any more is late, and dropped.
func (c *confirmations) take(m *nats.Msg) {
	_, err := readConfirmation(m)
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.waiting[m.Subject]
	if l == nil {
		return
	}
	if l.left--; l.left == 0 || err != nil {
		l.err = err
		close(l.done)
		delete(c.waiting, m.Subject)
	}
}
