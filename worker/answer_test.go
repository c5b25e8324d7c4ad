package worker_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

func say(status int, body string) func(*event.Event) (*handler.Response, error) {
	return func(*event.Event) (*handler.Response, error) {
		return &handler.Response{Status: status, Header: http.Header{"Content-Type": {"text/plain"}}, Body: []byte(body)}, nil
	}
}

func TestSenderThatWaitsIsAnswered(t *testing.T) {
	failure := errors.New("no")
	slow := handler.Retry{Attempts: 4, First: time.Minute, Factor: 1, Max: time.Minute, GiveUp: time.Hour}
	for name, test := range map[string]struct {
		retry  handler.Retry
		events []string
		do     func(e *event.Event) (*handler.Response, error)
		status int
		body   string
	}{
		"response":            {do: say(201, "hi"), status: 201, body: "hi"},
		"response, no status": {do: say(0, "hi"), status: 200, body: "hi"},
		"no response":         {},
		"dead letter": {do: func(*event.Event) (*handler.Response, error) {
			return nil, handler.Never(failure)
		}},
		"tried again soon": {do: func(e *event.Event) (*handler.Response, error) {
			if e.Attempt == 1 {
				return nil, failure
			}
			return say(200, "second")(e)
		}, status: 200, body: "second"},
		"tried again later": {retry: slow, do: func(*event.Event) (*handler.Response, error) { return nil, failure }},
		"a panic that is the last attempt": {retry: handler.Retry{Attempts: 1, First: time.Second, Factor: 1, Max: time.Second, GiveUp: time.Hour},
			do: func(*event.Event) (*handler.Response, error) { panic("no") }},
		// The broker's filter is wider than the two patterns.
		"not selected": {events: []string{"*.opened", "issues.*"}, do: say(200, "not for this one")},
		"too large":    {do: say(200, string(make([]byte, stream.MaxAnswer+1)))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := testbroker.New(t)
			var c calls
			if test.retry == (handler.Retry{}) {
				test.retry = quick
			}
			start(t, worker.Config{Broker: b},
				handler.Chain{Name: "slash", Retry: test.retry, Events: test.events, Steps: []handler.Step{c.step(1, "h", test.do)}},
				handler.Chain{Name: "audit", Steps: []handler.Step{c.step(1, "other", say(500, "not asked"))}})
			got := waitForAnswer(t, b, "slash")
			if got.Status != test.status || string(got.Body) != test.body {
				t.Errorf("status %d, body %.20q; want %d, %q", got.Status, got.Body, test.status, test.body)
			}
			if test.status != 0 && got.Header["Content-Type"][0] != "text/plain" {
				t.Errorf("header %v", got.Header)
			}
		})
	}
}

// waitForAnswer stores an event whose sender waits for the chain.
func waitForAnswer(t *testing.T, b *stream.Broker, chain string) stream.Answer {
	t.Helper()
	q, err := b.Ask(chain)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	e := &event.Event{ID: event.NewID(), Source: "/github/default", Type: "github.release.published", Receiver: "github", SourceID: "default", Time: time.Now()}
	if _, err := b.StoreAsking(t.Context(), e, q); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	got, err := q.Answer(ctx)
	if err != nil {
		t.Fatal("no answer:", err)
	}
	return got
}

// An event that cannot be read has nobody to answer it.
func TestUnreadableEventIsAnswered(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "slash", Steps: []handler.Step{c.step(1, "h", nil)}})
	q, err := b.Ask("slash")
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	e := &event.Event{Source: "/github/default", Type: "github.push", Receiver: "github", SourceID: "default"} // no id
	if _, err := b.StoreAsking(t.Context(), e, q); err != nil {
		t.Fatal(err)
	}
	if got, err := q.Answer(t.Context()); err != nil || got.Status != 0 {
		t.Errorf("answer %+v, %v", got, err)
	}
}
