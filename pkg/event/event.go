// Package event holds the noun that all of Belay works on: one verified
// webhook, or one notification, and its form on the wire.
package event

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
)

// Partitions is the number of partitions that events are spread over by their
// key. It is part of every stored subject and can never change.
const Partitions = 64

// AllTenants is the tenant of a notification that is for the subscriptions of every
// tenant. No tenant can have this name.
const AllTenants = "%"

// Event is one verified webhook, or one notification. It carries CloudEvents
// 1.0 attributes (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md)
// and the body exactly as it was received. Its wire form is drawn at
// [Event.Encode].
type Event struct {
	// ID is the provider's delivery id where it is stable over retries, else a
	// UUIDv7. Together with Source it names the event.
	ID string
	// Source is the CloudEvents source: /github/default for a webhook.
	Source string
	// Type is the CloudEvents type: github.pull_request.opened for a webhook,
	// the bare name (deploy.requested) for a notification.
	Type string
	// Time is when ingress accepted the event, or the notification was made.
	Time time.Time
	// ContentType is the media type of Body; empty if the sender named none.
	ContentType string
	// Traceparent is the W3C trace context of the request; empty for none.
	Traceparent string

	// Receiver is the provider's name in the catalogue; empty for a notification.
	Receiver string
	// SourceID is the id of the source at that receiver (default, eu, …).
	SourceID string
	// Key decides the partition, and the order of an ordered chain. Empty: ID.
	Key string
	// Tenant owns a notification: only its subscriptions see it; see [AllTenants].
	// Empty for a webhook.
	Tenant string
	// To is the one URL that a notification is for, instead of subscriptions; empty
	// for subscriptions. Who knows it may post to it: it is no more shown than a
	// secret.
	To string

	// When is a condition in CEL that the subscriptions which a notification is for must
	// meet; empty for none.
	When string

	// Header holds the request headers that the receiver says are worth keeping.
	Header http.Header
	// Body is the request's body, byte for byte.
	Body []byte

	// The rest belongs to the chain that the event is running in. The worker
	// sets it before each handler; it is not part of the stored event.

	// Chain and Handler are the names of the chain and of its running handler.
	Chain, Handler string
	// Run is 0 for what came in, and one higher for every replay, and every
	// redrive from the start, of the event in this chain.
	Run int
	// Attempt counts the tries of the running handler, from 1.
	Attempt int
	// Values are what handlers leave for the later handlers of the chain. They
	// survive a retry.
	Values Values
}

// IdempotencyKey is the same for every attempt of one handler on one event in one run,
// and differs between handlers, chains and runs. Who performs an effect that must not
// happen twice is handed it.
func (e *Event) IdempotencyKey() string {
	var room [256]byte // on the stack where it fits
	text := room[:0]
	for _, part := range [...]string{e.Source, e.ID, strconv.Itoa(e.Run), e.Chain, e.Handler} {
		text = strconv.AppendInt(text, int64(len(part)), 10)
		text = append(text, ':')
		text = append(text, part...)
		text = append(text, ',')
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// NewID returns an id for an event whose provider gives it none: a UUIDv7
// (https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-7).
func NewID() string {
	id, err := uuid.NewV7()
	if err != nil {
		// The kernel's random source is gone: nothing that signs or names can go on.
		panic("event: no randomness: " + err.Error())
	}
	return id.String()
}

// TypeOf joins the receiver and the provider's name of an event to a CloudEvents
// type. An event without a name has the receiver's name as its type.
func TypeOf(receiver, name string) string {
	switch {
	case receiver == "":
		return name
	case name == "":
		return receiver
	}
	return receiver + "." + name
}

// Name is the event's type without the receiver: pull_request.opened. It is
// what patterns are matched with.
func (e *Event) Name() string {
	if e.Receiver == "" {
		return e.Type
	}
	if e.Type == e.Receiver {
		return ""
	}
	return strings.TrimPrefix(e.Type, e.Receiver+".")
}

// Partition is the partition of the event's key, 0 to 63. Events of one key
// always share a partition.
func (e *Event) Partition() int {
	return int(xxhash.Sum64String(e.OrderKey()) % Partitions)
}

// OrderKey is what the events share that an ordered chain handles one at a time:
// Key or, where there is none, ID.
func (e *Event) OrderKey() string {
	if e.Key == "" {
		return e.ID
	}
	return e.Key
}

// MsgID identifies the event for deduplication by the broker:
// receiver/source/id for a webhook, tenant/source/id for a notification, or,
// above 128 bytes, a hash of it.
func (e *Event) MsgID() string {
	id := e.Receiver + "/" + e.SourceID + "/" + e.ID
	if e.Receiver == "" {
		// The lengths keep apart what could be cut in more than one way.
		id = fmt.Sprintf("%s/%d/%s/%s", e.Tenant, len(e.Source), e.Source, e.ID)
	}
	id = escapeValue(id)
	if len(id) <= 128 {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256/" + hex.EncodeToString(sum[:])
}
