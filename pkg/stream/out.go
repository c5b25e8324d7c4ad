package stream

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// OutDue is where a delivery stands that is due.
func OutDue(shard int, subscription, delivery string) string {
	return "belay.out." + strconv.Itoa(shard) + ".due." + subscription + "." + delivery
}

// OutWait is where a delivery waits for its next attempt.
func OutWait(shard int, subscription, delivery string) string {
	return fmt.Sprintf("belay.out.%d.wait.%s.%s", shard, subscription, delivery)
}

// OutAll selects deliveries, waiting and due; * stands for all subscriptions, or
// deliveries.
func OutAll(shard int, subscription, delivery string) string {
	return fmt.Sprintf("belay.out.%d.*.%s.%s", shard, subscription, delivery)
}

// OutCursor is where the fan-out of a notification keeps how far it got in a
// shard.
func OutCursor(shard int, notification string) string {
	return fmt.Sprintf("belay.out.%d.cursor.%s", shard, notification)
}

// AttemptSubject is where the attempts of a subscription's deliveries are kept
// that came to a verdict; * stands for all of a kind.
func AttemptSubject(tenant, subscription, verdict string) string {
	return "belay.attempt." + tenant + "." + subscription + "." + verdict
}

// DeadDelivery is where a delivery is kept that was given up; * stands for all of
// a kind.
func DeadDelivery(tenant, subscription, delivery string) string {
	return "belay.dead.out." + tenant + "." + subscription + "." + delivery
}

// DeadDeliveryUnreadable is where what cannot be read of the deliveries is kept.
const DeadDeliveryUnreadable = "belay.dead.out.unreadable"

// Due is when a message that is parked comes back; zero for one that is not parked.
func (m *Stored) Due() time.Time {
	text := m.Header[headerSchedule]
	if len(text) == 0 {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(text[0], "@at "))
	if err != nil {
		return time.Time{}
	}
	return at
}

// Next reads the first message of a number, or a higher one, whose subject the
// filter selects. [ErrNotFound] if there is none. It is for streams of work, which
// [Broker.Scan] cannot read.
func (b *Broker) Next(ctx context.Context, stream, filter string, seq uint64) (*Stored, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	m, err := s.GetMsg(ctx, max(seq, 1), jetstream.WithGetMsgSubject(filter))
	if err != nil {
		return nil, fmt.Errorf("read %s in %s: %w", filter, stream, brokerError(err))
	}
	return fromRaw(stream, m), nil
}
