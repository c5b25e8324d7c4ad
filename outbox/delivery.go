package outbox

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

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
	headerNotified     = "belay-notified"     // where NOTIFY keeps the notification: its sequence number
	headerBody         = "belay-body"         // if only NOTIFY has the body: the same number
	headerTurn         = "belay-turn"         // whose limiter it has a turn of, if it waited for one
	headerBase         = "belay-base"         // attempts before it was redriven last; missing for none
	headerReason       = "belay-reason"       // why the last attempt failed, or why it was given up
	headerCause        = "belay-cause"        // what it is parked for; missing: the schedule
	headerOrder        = "belay-order"        // what somebody has ordered: retry, cancel
	headerBy           = "belay-by"           // and who
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
//	│ belay-notified: 4711        its notification in NOTIFY     │
//	│ belay-body: 4711            if NOTIFY keeps the body       │
//	│ belay-base: 8               if it was redriven             │
//	│ belay-turn: …               if it waited for the rate      │
//	│ belay-reason, -cause        why it waits                   │
//	│ belay-order, -by            what was ordered, by whom      │
//	├─ data ─────────────────────────────────────────────────────┤
//	│ the body, up to 64 KiB                                     │
//	└────────────────────────────────────────────────────────────┘
type delivery struct {
	id           string
	subscription string
	attempt      int
	base         int    // attempts before the schedule began anew
	notified     uint64 // sequence number in NOTIFY
	body         uint64 // the same; 0: the event has the body
	turn         string // whose limiter has let it pass; empty: none yet
	reason       Reason // why the last attempt failed; empty: there was none
	cause        parkCause
	order        order
	by           string // who has ordered it
	event        *event.Event
}

// order is what somebody wants done with a delivery that waits. The process that
// owns its shard does it, so nobody comes between.
type order string

const (
	orderRetry  order = "retry"  // attempt it now, whatever the schedule, the rate and the breaker say
	orderCancel order = "cancel" // attempt it no more
)

// idPrefix begins the ids of deliveries; timeDigits of hexadecimal follow, the time
// in milliseconds since 1970.
const (
	idPrefix   = "msg_"
	timeDigits = 12
	idLength   = len(idPrefix) + timeDigits + 28
)

// deliveryID is the id of one notification, which was stored at a time, for one
// subscription. Whoever computes it gets the same, so a subscriber recognises what
// comes twice. It tells where in the history its attempts begin.
func deliveryID(e *event.Event, stored time.Time, subscription string) string {
	at := strconv.FormatInt(stored.UnixMilli(), 16)
	return idPrefix + strings.Repeat("0", max(timeDigits-len(at), 0)) + at + digest(e.Tenant, e.Source, e.ID, subscription)[:28]
}

// timeOf is when the notification of a delivery was stored.
func timeOf(id string) (time.Time, error) {
	if len(id) != idLength || !strings.HasPrefix(id, idPrefix) || !rest.ValidName(id) {
		return time.Time{}, fmt.Errorf("%q is no id of a delivery", id)
	}
	n, err := strconv.ParseUint(id[len(idPrefix):][:timeDigits], 16, 63) // no sign
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no id of a delivery", id)
	}
	return time.UnixMilli(int64(n)).UTC(), nil //nolint:gosec // 48 bits
}

// newDelivery is the first attempt of the notification e, which NOTIFY holds at a
// place. The body may stay there.
func newDelivery(e *event.Event, at place, s *Subscription) *delivery {
	d := &delivery{id: deliveryID(e, at.stored, s.ID), subscription: s.ID, attempt: 1, notified: at.seq, event: e}
	if away := len(e.Body) > maxInline || at.inParts; away || e.Tenant != s.Tenant || e.When != "" {
		mine := *e
		mine.Tenant, mine.When = s.Tenant, ""
		if d.event = &mine; away {
			mine.Body, d.body = nil, at.seq
		}
	}
	return d
}

// place is where a notification is stored, and since when.
type place struct {
	seq     uint64
	stored  time.Time
	inParts bool // its body stands beside it
}

func placeOf(h *stream.Held) place { return place{h.Seq, h.Stored, h.InParts()} }

// shardOf is the shard that all deliveries of a subscription stand in.
func shardOf(subscription string, shards int) int {
	return int(xxhash.Sum64String(subscription) % uint64(shards))
}

func (d *delivery) encode() (header map[string][]string, data []byte) {
	header, data = d.event.Encode()
	header[headerDelivery] = []string{d.id}
	header[headerSubscription] = []string{d.subscription}
	header[headerAttempt] = []string{strconv.Itoa(d.attempt)}
	for name, value := range map[string]string{
		headerNotified: number(d.notified), headerBody: number(d.body), headerBase: number(uint64(max(d.base, 0))), //nolint:gosec // it is not negative
		headerTurn: d.turn, headerReason: string(d.reason), headerCause: string(d.cause), headerOrder: string(d.order), headerBy: d.by,
	} {
		if value != "" {
			header[name] = []string{value}
		}
	}
	return header, data
}

// number is a number as text; empty for none.
func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// due is the delivery as a message that can be sent at once.
func (d *delivery) due(shard int) stream.Message {
	header, data := d.encode()
	return stream.Message{Subject: stream.OutDue(shard, d.subscription, d.id), Header: header, Data: data}
}

// letter is the delivery as a dead letter. The payload is nil if it is no longer
// kept anywhere. One that is too large for a message stays in NOTIFY, as it does for
// the deliveries.
func (d *delivery) letter(payload []byte, reason Reason, detail string) stream.Message {
	header, data := d.encode()
	if payload != nil && len(payload) <= stream.MaxInline {
		data = payload
		delete(header, headerBody)
	}
	header[headerReason] = []string{string(reason)}
	header[headerDetail] = []string{headerSafe(detail)}
	return stream.Message{
		Subject: stream.DeadDelivery(d.event.Tenant, d.subscription, d.id),
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
		id: event.HeaderValue(header, headerDelivery), subscription: event.HeaderValue(header, headerSubscription),
		turn: event.HeaderValue(header, headerTurn), reason: Reason(event.HeaderValue(header, headerReason)),
		cause: parkCause(event.HeaderValue(header, headerCause)), order: order(event.HeaderValue(header, headerOrder)),
		by: event.HeaderValue(header, headerBy), event: e,
	}
	if d.id == "" || !rest.ValidName(d.subscription) {
		return nil, errors.New("a delivery without its id or subscription")
	}
	if d.attempt, err = strconv.Atoi(event.HeaderValue(header, headerAttempt)); err != nil || d.attempt < 1 {
		return nil, fmt.Errorf("delivery %s: %s is not a number from 1", d.id, headerAttempt)
	}
	for name, into := range map[string]*uint64{headerNotified: &d.notified, headerBody: &d.body} {
		if text := event.HeaderValue(header, name); text != "" {
			if *into, err = strconv.ParseUint(text, 10, 64); err != nil {
				return nil, fmt.Errorf("delivery %s: %s is not a number", d.id, name)
			}
		}
	}
	if text := event.HeaderValue(header, headerBase); text != "" {
		if d.base, err = strconv.Atoi(text); err != nil || d.base < 0 || d.base >= d.attempt {
			return nil, fmt.Errorf("delivery %s: %s is not a number below that of the attempt", d.id, headerBase)
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
	if err != nil || kept.ID != d.event.ID || kept.Source != d.event.Source || kept.Tenant != d.event.Tenant && kept.Tenant != event.AllTenants {
		return nil, fmt.Errorf("message %d of %s is another one: %w", d.body, stream.Notify, stream.ErrNotFound)
	}
	return kept.Body, nil
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
