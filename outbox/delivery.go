package outbox

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// The headers that a delivery has besides its notification's.
const (
	headerDelivery     = "belay-delivery"     // its id
	headerSubscription = "belay-subscription" // the subscription's id
	headerAttempt      = "belay-attempt"      // the attempt that is due, from 1
	headerBody         = "belay-body"         // where NOTIFY keeps the body: its sequence number
	headerTurn         = "belay-turn"         // whose limiter it has a turn of, if it waited for one
	headerReason       = "belay-reason"       // of a dead letter: why it was given up
	headerDetail       = "belay-detail"       // of a dead letter: in words
)

// delivery is one notification for one subscription. Between its attempts it
// stands in an OUT stream:
//
//	┌─ headers ──────────────────────────────────────────────────┐
//	│ those of the notification (event.Encode)                   │
//	│ belay-delivery: msg_…       the webhook-id of its attempts │
//	│ belay-subscription: sub_…                                  │
//	│ belay-attempt: 1            the attempt that is due        │
//	│ belay-body: 4711            if NOTIFY keeps the body       │
//	│ belay-turn: …               if it waited for the rate      │
//	├─ data ─────────────────────────────────────────────────────┤
//	│ the body, up to 64 KiB                                     │
//	└────────────────────────────────────────────────────────────┘
type delivery struct {
	id           string
	subscription string
	attempt      int
	body         uint64 // sequence number in NOTIFY; 0: the event has it
	turn         string // whose limiter has let it pass; empty: none yet
	event        *event.Event
}

// deliveryID is the id of one notification for one subscription. Whoever
// computes it gets the same, so a subscriber recognises what comes twice.
func deliveryID(e *event.Event, subscription string) string {
	return "msg_" + digest(e.Tenant, e.Source, e.ID, subscription)
}

// newDelivery is the first attempt of the notification e that h holds. The body
// may stay where it is.
func newDelivery(e *event.Event, h *stream.Held, subscription string) *delivery {
	d := &delivery{id: deliveryID(e, subscription), subscription: subscription, attempt: 1, event: e}
	if len(e.Body) > maxInline || h.InParts() {
		light := *e
		light.Body = nil
		d.event, d.body = &light, h.Seq
	}
	return d
}

// shardOf is the shard that all deliveries of a subscription stand in.
func shardOf(subscription string, shards int) int {
	return int(xxhash.Sum64String(subscription) % uint64(shards))
}

func (d *delivery) encode() (header map[string][]string, data []byte) {
	header, data = d.event.Encode()
	header[headerDelivery] = []string{d.id}
	header[headerSubscription] = []string{d.subscription}
	header[headerAttempt] = []string{strconv.Itoa(d.attempt)}
	if d.body != 0 {
		header[headerBody] = []string{strconv.FormatUint(d.body, 10)}
	}
	if d.turn != "" {
		header[headerTurn] = []string{d.turn}
	}
	return header, data
}

// due is the delivery as a message that can be sent at once.
func (d *delivery) due(shard int) stream.Message {
	header, data := d.encode()
	return stream.Message{Subject: stream.OutDue(shard, d.subscription, d.id), Header: header, Data: data}
}

// letter is the delivery as a dead letter. The payload is nil if it is no longer
// kept anywhere.
func (d *delivery) letter(payload []byte, reason Reason, detail string) stream.Message {
	header, data := d.encode()
	if payload != nil {
		data = payload
		delete(header, headerBody)
	}
	header[headerReason] = []string{string(reason)}
	header[headerDetail] = []string{headerSafe(detail)}
	return stream.Message{
		Subject: stream.DeadDelivery(d.subscription),
		Header:  header,
		Data:    data,
		ID:      "dead/" + d.id + "/" + strconv.Itoa(d.attempt),
	}
}

// decodeDelivery reads what encode wrote.
func decodeDelivery(header map[string][]string, data []byte) (*delivery, error) {
	e, err := event.Decode(header, data)
	if err != nil {
		return nil, err
	}
	d := &delivery{
		id: headerValue(header, headerDelivery), subscription: headerValue(header, headerSubscription),
		turn: headerValue(header, headerTurn), event: e,
	}
	if d.id == "" || !rest.ValidName(d.subscription) {
		return nil, errors.New("a delivery without its id or subscription")
	}
	if d.attempt, err = strconv.Atoi(headerValue(header, headerAttempt)); err != nil || d.attempt < 1 {
		return nil, fmt.Errorf("delivery %s: %s is not a number from 1", d.id, headerAttempt)
	}
	if text := headerValue(header, headerBody); text != "" {
		if d.body, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, fmt.Errorf("delivery %s: %s is not a number", d.id, headerBody)
		}
	}
	return d, nil
}

// payload is the body that is sent, from NOTIFY if that keeps it.
// [stream.ErrNotFound] if it is gone.
func (d *delivery) payload(ctx context.Context, b *stream.Broker) ([]byte, error) {
	if d.body == 0 {
		return d.event.Body, nil
	}
	m, err := b.Get(ctx, stream.Notify, d.body)
	if err != nil {
		return nil, err
	}
	kept, err := b.ReadEvent(ctx, m)
	if err != nil && !errors.Is(err, stream.ErrUnreadable) {
		return nil, err
	}
	if err != nil || kept.ID != d.event.ID || kept.Source != d.event.Source || kept.Tenant != d.event.Tenant {
		return nil, fmt.Errorf("message %d of %s is another one: %w", d.body, stream.Notify, stream.ErrNotFound)
	}
	return kept.Body, nil
}

func headerValue(header map[string][]string, name string) string {
	if values := header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// headerSafe is a text for people that can stand in a header.
func headerSafe(s string) string {
	safe := []byte(s[:min(len(s), 512)])
	for i, c := range safe {
		if c < ' ' || c > '~' {
			safe[i] = '?'
		}
	}
	return string(safe)
}
