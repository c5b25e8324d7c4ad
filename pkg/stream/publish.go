package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Message is what is stored in a stream.
type Message struct {
	// Subject decides the stream.
	Subject string
	Header  map[string][]string
	Data    []byte
	// Parts is the subject, in the same stream, for the parts of Data above
	// [MaxInline]. Empty: all of Data goes into one message.
	Parts string
	// ID makes the broker store the message once within its window, however
	// often it is published; empty for no deduplication.
	ID string
}

// Receipt is the broker's confirmation that a message is stored.
type Receipt struct {
	Stream string
	Seq    uint64
	// Duplicate says that a message of this ID was stored before; Seq is its.
	Duplicate bool
}

// What can come of a request to the broker, for errors.Is.
var (
	// ErrUnavailable: the broker did not confirm. The outcome is unknown;
	// publishing again with the same ID is safe.
	ErrUnavailable = errors.New("broker unavailable")
	// ErrInFlight: a message of this ID is just being stored. Ask again: until
	// that has ended it is not known to be stored.
	ErrInFlight = errors.New("a message of the same id is being stored")
	// ErrFull: the stream is at its limit or the disk is full.
	ErrFull = errors.New("store is full")
	// ErrTooLarge: the message is over the broker's limit.
	ErrTooLarge = errors.New("message too large for the broker")
	// ErrNotFound: no such message or key.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the key exists, or is not at the expected revision.
	ErrConflict = errors.New("changed by somebody else")
)

// The broker's error codes
// (https://github.com/nats-io/nats-server/blob/main/server/errors.json).
const (
	codeResources     jetstream.ErrorCode = 10023 // insufficient resources
	codeTooLarge      jetstream.ErrorCode = 10054 // message size exceeds maximum allowed
	codeStoreFailed   jetstream.ErrorCode = 10077 // also "maximum bytes exceeded"
	codeResourcesFull jetstream.ErrorCode = 10047 // insufficient storage resources
	codeInProcess     jetstream.ErrorCode = 10158 // duplicate message id is in process
	// A message of the batch was stored before: nothing of the batch is stored.
	codeBatchDuplicate jetstream.ErrorCode = 10201
	codeBatchInflight  jetstream.ErrorCode = 10210 // too many batches at once
	codeNotLeader      jetstream.ErrorCode = 10008 // JetStream system temporarily unavailable
	// A message of the batch was lost with the connection: nothing of it is stored.
	codeBatchIncomplete jetstream.ErrorCode = 10176
	codeHeaderTooLarge  jetstream.ErrorCode = 10097 // header size exceeds maximum allowed of 64k
	// The last message of the subject is just being stored: it is not known yet
	// whether it is the expected one.
	codeLastInFlight jetstream.ErrorCode = 10164
)

// Publish stores one message and returns once the broker has confirmed it.
func (b *Broker) Publish(ctx context.Context, m Message) (Receipt, error) {
	if m.Parts != "" && len(m.Data) > MaxInline {
		return b.publishInParts(ctx, m)
	}
	ack, err := b.confirmed(ctx, m.msg())
	if err != nil {
		return Receipt{}, fmt.Errorf("publish to %s: %w", m.Subject, err)
	}
	if err := b.flushed(ctx); err != nil {
		return Receipt{}, fmt.Errorf("publish to %s: %w", m.Subject, err)
	}
	return Receipt{Stream: ack.Stream, Seq: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// The headers of a parked message: when it is due, and where it goes then.
const (
	headerSchedule = "Nats-Schedule"
	headerTarget   = "Nats-Schedule-Target"
)

// Schedule parks m under the subject wait, in the same stream, until at: then
// the broker stores it under its own subject. Scheduling again under the same
// wait subject replaces what is parked there
// (https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-51.md).
func (b *Broker) Schedule(ctx context.Context, m Message, wait string, at time.Time) error {
	return b.schedule(ctx, m, wait, at)
}

// Reschedule is [Broker.Schedule] if what is parked under wait is still the
// message seq, or nothing where that is 0. It fails with [ErrConflict] otherwise.
func (b *Broker) Reschedule(ctx context.Context, m Message, wait string, at time.Time, seq uint64) error {
	return b.schedule(ctx, m, wait, at, jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(seq, 10))
}

func (b *Broker) schedule(ctx context.Context, m Message, wait string, at time.Time, more ...string) error {
	msg := m.msg(append(more, headerSchedule, "@at "+at.UTC().Format(time.RFC3339Nano), headerTarget, m.Subject)...)
	msg.Subject = wait
	if _, err := b.confirmed(ctx, msg); err != nil {
		return fmt.Errorf("schedule %s: %w", m.Subject, err)
	}
	return b.flushed(ctx)
}

// maxBatch is the broker's limit of messages in one batch.
const maxBatch = 1000

// The headers of a message in a batch.
const (
	headerBatch    = "Nats-Batch-Id"
	headerSequence = "Nats-Batch-Sequence"
	headerCommit   = "Nats-Batch-Commit"
)

// publishBatch stores messages of one stream together or not at all, and returns once
// the broker has confirmed them. After [ErrUnavailable] it is not known which of the two
// it was (https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-50.md).
func (b *Broker) publishBatch(ctx context.Context, messages []Message) (confirmation, error) {
	id := nuid.Next()
	last := len(messages) - 1
	for i, m := range messages[:last] {
		if err := b.nc.PublishMsg(m.msg(headerBatch, id, headerSequence, strconv.Itoa(i+1))); err != nil {
			return confirmation{}, fmt.Errorf("publish a batch: %w", brokerError(err))
		}
	}
	commit := messages[last].msg(headerBatch, id, headerSequence, strconv.Itoa(last+1), headerCommit, "1")
	ack, err := b.confirmed(ctx, commit)
	if err != nil {
		return confirmation{}, fmt.Errorf("publish a batch: %w", err)
	}
	return ack, b.flushed(ctx)
}

// msg is the message with more headers, given as names and values. Without any
// it shares the header of m, which nobody changes.
func (m Message) msg(more ...string) *nats.Msg {
	header := nats.Header(m.Header)
	if m.ID != "" || len(more) > 0 {
		header = make(nats.Header, len(m.Header)+1+len(more)/2)
		maps.Copy(header, m.Header)
	}
	if m.ID != "" {
		header[jetstream.MsgIDHeader] = []string{m.ID}
	}
	for i := 0; i+1 < len(more); i += 2 {
		header[more[i]] = []string{more[i+1]}
	}
	return &nats.Msg{Subject: m.Subject, Header: header, Data: m.Data}
}

// brokerError gives an error of the client or the broker the meaning that
// callers act on, and keeps its text.
func brokerError(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, nats.ErrMaxPayload):
		return join(ErrTooLarge, err)
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrKeyDeleted):
		return join(ErrNotFound, err)
	case errors.Is(err, jetstream.ErrKeyExists):
		return join(ErrConflict, err)
	case errors.As(err, &api):
		switch api.ErrorCode {
		case codeResources, codeResourcesFull, codeStoreFailed:
			return join(ErrFull, err)
		case codeTooLarge, codeHeaderTooLarge:
			return join(ErrTooLarge, err)
		case codeInProcess, codeLastInFlight:
			return join(ErrInFlight, err)
		case codeNotLeader, codeBatchInflight, codeBatchIncomplete:
			return join(ErrUnavailable, err)
		case jetstream.JSErrCodeStreamWrongLastSequence:
			return join(ErrConflict, err)
		}
		if api.Code == 503 {
			return join(ErrUnavailable, err)
		}
		return err
	}
	// What is left are lost connections, time-outs and elections.
	return join(ErrUnavailable, err)
}

func join(kind, err error) error { return fmt.Errorf("%w: %w", kind, err) }
