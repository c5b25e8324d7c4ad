package console

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// tombstone is what is left of an event whose content was erased.
type tombstone struct {
	Receiver string    `json:"receiver"`
	Source   string    `json:"source_id"`
	ID       string    `json:"id"`
	By       string    `json:"erased_by"`
	Why      string    `json:"why,omitempty"`
	At       time.Time `json:"erased"`
	Shard    int       `json:"shard"`
	Seq      uint64    `json:"seq"`
	// Stored is when the event came in.
	Stored time.Time `json:"stored"`
	// Messages that were overwritten, of all streams.
	Messages int `json:"messages"`
	// Done says that nothing is left to be erased.
	Done bool `json:"done"`
}

// tombstoneKey is where the bucket STATE keeps it. An id is any text.
func tombstoneKey(receiver, source, id string) string {
	sum := sha256.Sum256([]byte(receiver + "/" + source + "/" + id))
	return "erased." + hex.EncodeToString(sum[:16])
}

// tombstone is that of an event; nil if it has none.
func (s *Server) tombstone(ctx context.Context, receiver, source, id string) (*tombstone, error) {
	e, err := s.state.Get(ctx, tombstoneKey(receiver, source, id))
	if errors.Is(err, stream.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := new(tombstone)
	if err := json.Unmarshal(e.Value, t); err != nil {
		return nil, fmt.Errorf("the tombstone of an event: %w", err)
	}
	return t, nil
}

func (s *Server) keep(ctx context.Context, t *tombstone) error {
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return stream.WaitOut(ctx, func() error {
		_, err := s.state.Put(ctx, tombstoneKey(t.Receiver, t.Source, t.ID), data)
		return err
	})
}

func (s *Server) eraseEvent(w http.ResponseWriter, r *http.Request, who string) error {
	f, err := bodyOf(w, r)
	if err != nil {
		return err
	}
	f.Only("key", "why")
	why, key := f.Text("why", maxText), f.Text("key", maxText)
	if err := f.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookFor)
	defer cancel()
	t, err := s.eraseEach(ctx, tombstone{
		Receiver: variable(r, "receiver"), Source: variable(r, "source"), ID: variable(r, "id"), By: who, Why: why,
	}, key)
	if err != nil {
		return err
	}
	s.audit("event erased", who, "receiver", t.Receiver, "source", t.Source, "id", t.ID, "messages", t.Messages, "why", why)
	rest.WriteJSON(w, http.StatusOK, "application/json", t)
	return nil
}

// eraseEach erases what stands there of an id: several events, where the provider has
// sent it again after the window. It returns the tombstone of the last one.
func (s *Server) eraseEach(ctx context.Context, order tombstone, key string) (*tombstone, error) {
	t, err := s.tombstone(ctx, order.Receiver, order.Source, order.ID)
	if err == nil && t != nil {
		err = s.erase(ctx, t) // a call before may have been cut
	}
	for err == nil {
		m, missing := s.find(ctx, order.Receiver, order.Source, order.ID, key)
		switch {
		case errors.Is(missing, stream.ErrNotFound):
			continue // somebody else has just erased it
		case t != nil && errors.Is(missing, noEvent):
			return t, nil
		case missing != nil:
			return nil, missing
		}
		next := order
		next.At, next.Seq, next.Stored = time.Now().UTC(), m.Seq, m.Time
		if next.Shard, err = stream.ShardOf(m.Stream); err != nil {
			return nil, err
		}
		if t != nil {
			next.Messages = t.Messages
		}
		t = &next
		err = s.erase(ctx, t)
	}
	return nil, err
}

// erase removes all that Belay keeps of an event. It may be cut anywhere, and begun
// again: the tombstone tells where the event was.
//
//	tombstone → copies in NOTIFY → IN and its parts → RETRY → PROGRESS → DEAD and its parts → tombstone: done
//
// Who is told of it by a handler tells further: what has left Belay is not reached.
func (s *Server) erase(ctx context.Context, t *tombstone) error {
	t.Done = false
	if err := s.keep(ctx, t); err != nil {
		return err
	}
	if err := s.eraseCopies(ctx, t); err != nil {
		return err
	}
	if err := s.eraseOne(ctx, t, stream.In(t.Shard), t.Seq); err != nil {
		return err
	}
	parked, err := s.broker.Subjects(ctx, stream.Retry, stream.RetryPlace(t.Shard, t.Seq))
	if err != nil {
		return err
	}
	for subject, turns := range parked {
		if err := s.eraseTurns(ctx, t, subject, turns); err != nil {
			return err
		}
	}
	if err := s.eraseProgress(ctx, t); err != nil {
		return err
	}
	dead := stream.Range{Stream: stream.Dead, Filters: stream.DeadOf(t.Shard, t.Seq), HeadersOnly: true}
	if err := s.eraseAll(ctx, t, dead, func(*stream.Stored) bool { return true }); err != nil {
		return err
	}
	t.Done = true
	return s.keep(ctx, t)
}

func (s *Server) eraseOne(ctx context.Context, t *tombstone, from string, seq uint64) error {
	m, err := s.broker.Get(ctx, from, seq)
	if errors.Is(err, stream.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.overwrite(ctx, t, m)
}

// eraseTurns overwrites what is parked: a turn, and what is left of one before it.
func (s *Server) eraseTurns(ctx context.Context, t *tombstone, subject string, turns uint64) error {
	for range turns {
		m, err := s.broker.Last(ctx, stream.Retry, subject)
		if errors.Is(err, stream.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.overwrite(ctx, t, m); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) overwrite(ctx context.Context, t *tombstone, m *stream.Stored) error {
	err := stream.WaitOut(ctx, func() error { return s.broker.Delete(ctx, m, true) })
	if err == nil {
		t.Messages++
	}
	return err
}

// eraseAll overwrites the messages of a range that are meant.
func (s *Server) eraseAll(ctx context.Context, t *tombstone, r stream.Range, meant func(*stream.Stored) bool) error {
	var all []*stream.Stored
	if err := s.broker.Scan(ctx, r, func(m *stream.Stored) bool {
		if meant(m) {
			all = append(all, m)
		}
		return true
	}); err != nil {
		return err
	}
	for _, m := range all {
		if err := s.overwrite(ctx, t, m); err != nil {
			return err
		}
	}
	return nil
}

// eraseProgress removes the values and the errors that chains have kept. What is put
// in their place ends whatever worker still has the event in hand.
func (s *Server) eraseProgress(ctx context.Context, t *tombstone) error {
	bucket := s.broker.Bucket(stream.Progress)
	keys, err := bucket.Keys(ctx, stream.ProgressKeys("*", t.Shard, t.Seq))
	if err != nil {
		return err
	}
	for _, key := range keys {
		chain, text, _ := strings.Cut(key, ".")
		place, err := stream.ParsePlace(text)
		if err != nil {
			return err
		}
		entry, err := bucket.Get(ctx, key)
		if errors.Is(err, stream.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		p, err := standing.ReadProgress(entry)
		if err != nil {
			return err
		}
		if p.Outcome == standing.Erased {
			continue
		}
		t.Messages++
		// A bucket can be written over, not erased: the broker frees the room.
		left := standing.Progress{Turn: p.Turn, Redrives: p.Redrives, Outcome: standing.Erased}
		if err := s.progress.Write(ctx, chain, place, left); err != nil {
			return err
		}
	}
	return nil
}

// eraseCopies removes the notifications that chains have made of an event: their ids
// are the idempotency keys of the steps that made them.
func (s *Server) eraseCopies(ctx context.Context, t *tombstone) error {
	m, err := s.broker.Get(ctx, stream.In(t.Shard), t.Seq)
	if errors.Is(err, stream.ErrNotFound) {
		return nil // a call before has begun here
	}
	if err != nil {
		return err
	}
	e, err := event.Decode(m.Header, nil)
	if err != nil {
		return nil // no chain could read it
	}
	ids := make(map[string]bool)
	ran := func(run int, chain, step string) {
		e.Run, e.Chain, e.Handler = run, chain, step
		ids[e.IdempotencyKey()] = true
	}
	// The history of a chain outlives it.
	histories, err := s.broker.Subjects(ctx, stream.Done, stream.DoneSubject("*", t.Shard))
	if err != nil {
		return err
	}
	for subject := range histories {
		if err := s.recorded(ctx, subject, m, func(r stream.Record) {
			for _, step := range r.Steps {
				ran(r.Run, stream.DoneBy(subject), step.Name)
			}
		}); err != nil {
			return err
		}
	}
	noted, err := s.broker.Bucket(stream.Progress).Keys(ctx, stream.ProgressKeys("*", t.Shard, t.Seq))
	if err != nil {
		return err
	}
	for _, key := range noted {
		chain, text, _ := strings.Cut(key, ".")
		place, err := stream.ParsePlace(text)
		if err != nil {
			return err
		}
		p, _, err := s.progress.Find(ctx, chain, place)
		if err != nil {
			return err
		}
		ran(place.Run, chain, p.Next)
		for _, f := range p.Failures {
			ran(place.Run, chain, f.Handler)
		}
	}
	copies := stream.Range{
		Stream: stream.Notify, Filters: []string{stream.NotifySubject("*")}, From: m.Time.Add(-10 * time.Second), HeadersOnly: true,
	}
	return s.eraseAll(ctx, t, copies, func(n *stream.Stored) bool {
		c, err := event.Decode(n.Header, nil)
		return err == nil && ids[c.ID]
	})
}
