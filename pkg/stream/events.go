package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/belay-hooks/belay/pkg/event"
)

const (
	// MaxInline is the largest body, in bytes, that is stored in its event's own
	// message. A larger one is stored as parts right before it.
	MaxInline = 512 << 10
	// partSize is the size of a part; only the last one is smaller.
	partSize = 256 << 10
	// headerParts says how many parts the body of an event has.
	headerParts = "belay-parts"
)

// StoreEvent stores a webhook or a notification where those who handle it take
// it from. Storing it again within the broker's window stores nothing.
//
// A body above [MaxInline] goes before its event in one atomic batch:
//
//	seq-3  belay.part.…   256 KiB ┐
//	seq-2  belay.part.…   256 KiB ├ the body
//	seq-1  belay.part.…   the rest┘
//	seq    belay.in.…     the event's headers, belay-parts: 3, no data
//
// so that either all of it is stored or nothing, and what is stored of it goes
// together when it is too old.
func (b *Broker) StoreEvent(ctx context.Context, e *event.Event) (Receipt, error) {
	return b.StoreAsking(ctx, e, nil)
}

// StoreAsking is [Broker.StoreEvent] for an event whose sender waits for a chain's
// answer; nil: it waits for none. A duplicate is not asked about: what is stored
// is the first one, with its own question.
func (b *Broker) StoreAsking(ctx context.Context, e *event.Event, q *Question) (Receipt, error) {
	if b.room != nil {
		if err := b.room(); err != nil {
			return Receipt{}, fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
	header, data := e.Encode()
	m := Message{Subject: eventSubject(e), Header: header, Data: data}
	// The header is new: the id goes into it, and Publish need not copy it.
	header[jetstream.MsgIDHeader] = []string{e.MsgID()}
	if q != nil {
		header[headerAnswer] = []string{q.chain + " " + q.subject}
	}
	if len(data) > MaxInline {
		m.Parts = partsSubject(e)
	}
	return b.Publish(ctx, m)
}

// publishInParts stores m with its data as parts.
func (b *Broker) publishInParts(ctx context.Context, m Message) (Receipt, error) {
	batch := make([]Message, 0, len(m.Data)/partSize+2)
	for part := range slices.Chunk(m.Data, partSize) {
		batch = append(batch, Message{Subject: m.Parts, Data: part})
	}
	m.Header, m.Data = maps.Clone(m.Header), nil
	if m.Header == nil {
		m.Header = make(map[string][]string, 1)
	}
	m.Header[headerParts] = []string{strconv.Itoa(len(batch))}
	ack, err := b.publishBatch(ctx, append(batch, m))
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeBatchDuplicate {
		// Only m has an id, so it is what is stored already.
		return Receipt{Duplicate: true}, b.flushed(ctx)
	}
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{Stream: ack.Stream, Seq: ack.Sequence}, nil
}

// eventSubject is where an event is stored.
func eventSubject(e *event.Event) string {
	if e.Receiver == "" {
		return NotifySubject(e.Tenant)
	}
	return e.Subject()
}

// partsSubject is where the parts of its body are.
func partsSubject(e *event.Event) string {
	if e.Receiver == "" {
		return "belay.part.notify." + e.Tenant
	}
	return fmt.Sprintf("belay.part.%d.%s", e.Partition(), e.Receiver)
}

// ErrUnreadable: a stored message is not an event, or its body is not whole.
var ErrUnreadable = errors.New("the stored event cannot be read")

// ReadEvent makes an event of a message that [Broker.StoreEvent] stored, and
// reads its parts if it has some. It fails with [ErrUnreadable], or with
// [ErrNotFound] if a part is gone.
func (b *Broker) ReadEvent(ctx context.Context, m *Stored) (*event.Event, error) {
	e, err := event.Decode(m.Header, m.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	text := m.Header[headerParts]
	if len(text) == 0 {
		return e, nil
	}
	n := parts(m.Header)
	if n == 0 || n >= m.Seq {
		return nil, fmt.Errorf("%w: %s is %q", ErrUnreadable, headerParts, text[0])
	}
	var body bytes.Buffer
	body.Grow(int(n) * partSize)
	for seq := m.Seq - n; seq < m.Seq; seq++ {
		part, err := b.Get(ctx, m.Stream, seq)
		if err != nil {
			return nil, err
		}
		body.Write(part.Data)
	}
	e.Body = body.Bytes()
	return e, nil
}

// parts is how many parts a body has; 0: none, or nobody can tell.
func parts(header map[string][]string) uint64 {
	text := header[headerParts]
	if len(text) == 0 {
		return 0
	}
	n, err := strconv.ParseUint(text[0], 10, 16)
	if err != nil {
		return 0
	}
	return n
}

// SizeInParts is how many bytes [Broker.ReadEvent] reads beside a message with
// these headers: about the size of its body, and 0 where that is in the message.
func SizeInParts(header map[string][]string) int64 { return int64(parts(header)) * partSize } //nolint:gosec // 16 bits of parts

// InParts says that the body of the event stands beside the message.
func (h *Held) InParts() bool { return len(h.Header[headerParts]) > 0 }

// Event makes an event of a held message; see [Broker.ReadEvent].
func (b *Broker) Event(ctx context.Context, h *Held) (*event.Event, error) {
	return b.ReadEvent(ctx, &Stored{Stream: h.Stream, Seq: h.Seq, Subject: h.Subject, Header: h.Header, Data: h.Data, Time: h.Stored})
}
