package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Stored is a message as it was read back from a stream.
type Stored struct {
	Stream  string
	Subject string
	Header  map[string][]string
	Data    []byte
	Seq     uint64
	Time    time.Time
}

// Portable is the headers of a stored message without those that belong to its
// place: the broker's own, which would be orders to it if they were published
// again, the one that says that parts stand before it, and a question.
func Portable(header map[string][]string) map[string][]string {
	portable := make(map[string][]string, len(header))
	for name, values := range header {
		if name != headerParts && name != headerAnswer && !strings.HasPrefix(name, "Nats-") {
			portable[name] = values
		}
	}
	return portable
}

func fromRaw(stream string, m *jetstream.RawStreamMsg) *Stored {
	return &Stored{Stream: stream, Subject: m.Subject, Header: m.Header, Data: m.Data, Seq: m.Sequence, Time: m.Time}
}

// Get reads one message. [ErrNotFound] if it is gone.
func (b *Broker) Get(ctx context.Context, stream string, seq uint64) (*Stored, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	m, err := s.GetMsg(ctx, seq)
	if err != nil {
		return nil, fmt.Errorf("read message %d of %s: %w", seq, stream, brokerError(err))
	}
	return fromRaw(stream, m), nil
}

// Last reads the newest message of a subject, which may hold wildcards.
// [ErrNotFound] if there is none.
func (b *Broker) Last(ctx context.Context, stream, subject string) (*Stored, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	m, err := s.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("read the last message of %s: %w", subject, brokerError(err))
	}
	return fromRaw(stream, m), nil
}

// lastFromLeader reads the newest message of a subject from the leader of a stream,
// as an entry without its key. The client asks any of its servers.
// (https://docs.nats.io/reference/reference-protocols/nats_api_reference)
func (b *Broker) lastFromLeader(ctx context.Context, stream, subject string) (e Entry, err error) {
	question, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return e, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := b.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, question)
	if err != nil {
		return e, brokerError(err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Seq     uint64    `json:"seq"`
			Headers []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return e, brokerError(fmt.Errorf("the answer is unreadable: %w", err))
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return e, join(ErrNotFound, answer.Error)
	case answer.Error != nil:
		return e, brokerError(answer.Error)
	case bytes.Contains(answer.Message.Headers, []byte("KV-Operation:")):
		return e, ErrNotFound // the key was removed
	}
	return Entry{Value: answer.Message.Data, Revision: answer.Message.Seq, Created: answer.Message.Time}, nil
}

// Purge removes the messages of a subject, which may hold wildcards.
func (b *Broker) Purge(ctx context.Context, stream, subject string) error {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return err
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
		return fmt.Errorf("purge %s: %w", subject, brokerError(err))
	}
	return nil
}

// stream returns the handle of a stream, which is looked up once.
func (b *Broker) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	if s, ok := b.streams.Load(name); ok {
		return s.(jetstream.Stream), nil
	}
	s, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("look up the stream %s: %w", name, brokerError(err))
	}
	b.streams.Store(name, s)
	return s, nil
}

// info is what a stream is and holds.
func (b *Broker) info(ctx context.Context, stream string, opts ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("look up the stream %s: %w", stream, brokerError(err))
	}
	return info, nil
}

// Bytes is how much a stream holds.
func (b *Broker) Bytes(ctx context.Context, stream string) (int64, error) {
	info, err := b.info(ctx, stream)
	if err != nil {
		return 0, err
	}
	return int64(info.State.Bytes), nil
}

// MaxAge is how long a stream keeps a message; 0: it does not go by its age.
func (b *Broker) MaxAge(ctx context.Context, stream string) (time.Duration, error) {
	info, err := b.info(ctx, stream)
	if err != nil {
		return 0, err
	}
	return info.Config.MaxAge, nil
}
