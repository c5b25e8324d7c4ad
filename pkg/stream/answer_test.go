package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// asked stores an event with a question to the chain slash, and returns how a
// worker on a connection of its own holds it.
func asked(t *testing.T, b *stream.Broker, q *stream.Question, worker *stream.Broker) *stream.Held {
	t.Helper()
	e := &event.Event{ID: event.NewID(), Source: "/slack/default", Type: "slack.command", Receiver: "slack", SourceID: "default"}
	receipt, err := b.StoreAsking(t.Context(), e, q)
	if err != nil {
		t.Fatal(err)
	}
	m, err := worker.Get(t.Context(), receipt.Stream, receipt.Seq)
	if err != nil {
		t.Fatal(err)
	}
	h := &stream.Held{Stream: m.Stream, Seq: m.Seq, Subject: m.Subject, Header: m.Header, Data: m.Data}
	if got, err := worker.Event(t.Context(), h); err != nil || strings.Contains(fmt.Sprintf("%+v", got), "belay.answer") {
		t.Errorf("the event that handlers see: %+v, %v", got, err)
	}
	return h
}

func ask(t *testing.T, b *stream.Broker) *stream.Question {
	t.Helper()
	q, err := b.Ask("slash")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q
}

func TestAnswerReachesWhoAsked(t *testing.T) {
	server := testbroker.Start(t)
	door, other, worker := server.Connect(), server.Connect(), server.Connect()
	if err := door.Migrate(t.Context(), stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	// Questions of two processes, and two of one: each gets its own answer.
	for i, b := range []*stream.Broker{door, other, door} {
		q, bystander := ask(t, b), ask(t, b)
		h := asked(t, b, q, worker)
		if !h.Asked("slash") || h.Asked("audit") {
			t.Errorf("asked slash %v, audit %v", h.Asked("slash"), h.Asked("audit"))
		}
		want := stream.Answer{Status: 200 + i, Header: map[string][]string{"Content-Type": {"text/plain"}}, Body: []byte("\x00\xff" + strings.Repeat("x", i))}
		if err := worker.Answer(h, "audit", stream.Answer{Status: 500}); err != nil {
			t.Error(err)
		}
		for range 2 { // the second one is late
			if err := worker.Answer(h, "slash", want); err != nil {
				t.Error(err)
			}
		}
		got, err := q.Answer(t.Context())
		if err != nil || got.Status != want.Status || !bytes.Equal(got.Body, want.Body) || got.Header["Content-Type"][0] != "text/plain" {
			t.Errorf("answer %+v, %v", got, err)
		}
		short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if got, err := bystander.Answer(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a question that nobody heard has the answer %+v, %v", got, err)
		}
		cancel()
	}
}

func TestAnswerIsBounded(t *testing.T) {
	b := testbroker.New(t)
	for name, test := range map[string]struct {
		answer stream.Answer
		fits   bool
	}{
		"largest":         {stream.Answer{Status: 200, Body: make([]byte, stream.MaxAnswer)}, true},
		"body too large":  {stream.Answer{Status: 200, Body: make([]byte, stream.MaxAnswer+1)}, false},
		"headers too big": {stream.Answer{Status: 200, Header: map[string][]string{"A": {strings.Repeat("x", 5000)}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			q := ask(t, b)
			err := b.Answer(asked(t, b, q, b), "slash", test.answer)
			if test.fits != (err == nil) || !test.fits && !errors.Is(err, stream.ErrTooLarge) {
				t.Errorf("error %v", err)
			}
			got, err := q.Answer(t.Context())
			if err != nil || (got.Status != 0) != test.fits || test.fits && len(got.Body) != stream.MaxAnswer {
				t.Errorf("status %d with %d bytes, %v", got.Status, len(got.Body), err)
			}
		})
	}
}

// What is stored cannot make a worker publish where answers do not go.
func TestAnswerGoesToAnAnswerSubjectOnly(t *testing.T) {
	b := testbroker.New(t)
	for _, header := range []string{"slash belay.in.1.a.b.c", "slash", "slash ", "", "slash belay.answer.*", "slash belay.answer.>", "slash belay.answer.a b", "slash belay.answer.a\r\nPUB x"} {
		h := &stream.Held{Header: map[string][]string{"belay-answer": {header}}}
		if h.Asked("slash") {
			t.Errorf("%q is taken for a question", header)
		}
		if err := b.Answer(h, "slash", stream.Answer{Status: 200}); err != nil {
			t.Error(err)
		}
	}
}

// The subscription outlives the connection that it was made over.
func TestAnswerAfterTheBrokerWasAway(t *testing.T) {
	server := testbroker.Start(t)
	door, worker := server.Connect(), server.Connect()
	if err := door.Migrate(t.Context(), stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	ask(t, door)
	server.Restart()
	for _, b := range []*stream.Broker{door, worker} {
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	q := ask(t, door)
	if err := worker.Answer(asked(t, door, q, worker), "slash", stream.Answer{Status: 200}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if got, err := q.Answer(ctx); err != nil || got.Status != 200 {
		t.Errorf("answer %+v, %v", got, err)
	}
}
