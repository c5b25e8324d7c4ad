package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

func TestRetryResumesAtTheFailedHandlerWithTheValues(t *testing.T) {
	for _, mode := range []struct {
		name  string
		short time.Duration // waits up to this are left to the broker
	}{{"short waits", time.Minute}, {"parked in the log", time.Nanosecond}} {
		t.Run(mode.name, func(t *testing.T) {
			b := testbroker.New(t)
			var c calls
			keys := map[string]bool{}
			start(t, worker.Config{Broker: b, ShortRetry: mode.short}, handler.Chain{Name: "c", Retry: quick, Steps: []handler.Step{
				c.step(1, "a", func(e *event.Event) (*handler.Response, error) { return nil, e.Values.Set("from-a", 42) }),
				c.step(2, "b", func(e *event.Event) (*handler.Response, error) {
					var n int
					if ok, err := e.Values.Get("from-a", &n); !ok || err != nil || n != 42 {
						t.Errorf("value of a: %v %v %v", n, ok, err)
					}
					keys[e.IdempotencyKey()] = true
					if string(e.Body) != `{"n":1}` {
						t.Errorf("body %q", e.Body)
					}
					if e.Attempt < 3 {
						return nil, errors.New("not yet")
					}
					return nil, nil
				}),
				c.step(3, "c", nil),
			}})
			publish(t, b, "e", "push")
			c.wait(t, "e:a#1", "e:b#1", "e:b#2", "e:b#3", "e:c#1")
			if len(keys) != 1 {
				t.Errorf("idempotency keys of one handler: %v", keys)
			}
			waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
		})
	}
}

func TestLargeBodyIsParkedByReference(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	body := make([]byte, 200<<10)
	for i := range body {
		body[i] = byte(i)
	}
	start(t, worker.Config{Broker: b, ShortRetry: time.Nanosecond}, handler.Chain{Name: "c", Retry: quick, Steps: []handler.Step{
		c.step(1, "a", func(e *event.Event) (*handler.Response, error) {
			if !slices.Equal(e.Body, body) {
				t.Errorf("body of %d bytes differs", len(e.Body))
			}
			if e.Attempt == 1 {
				return nil, errors.New("again")
			}
			return nil, nil
		}),
	}})
	publishEvent(t, b, &event.Event{ID: "e", Type: "github.push", Body: body})
	c.wait(t, "e:a#1", "e:a#2")
}

func TestEventIsGivenUpAsADeadLetter(t *testing.T) {
	for _, tc := range []struct {
		name    string
		err     error
		retry   handler.Retry
		age     time.Duration
		runs    int
		reason  string
		failure string
	}{
		{"after the last attempt", errors.New("broken"), quick, 0, 4, "attempts_exhausted", "broken"},
		{"at once by Never", handler.Never(errors.New("hopeless")), quick, 0, 1, "handler_gave_up", "hopeless"},
		{"when it is too old", errors.New("broken"), quick, 2 * time.Hour, 1, "too_old", "broken"},
		{"when Later makes it too old", handler.Later(time.Millisecond, nil), quick, 2 * time.Hour, 1, "too_old", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := testbroker.New(t)
			var c calls
			start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Retry: tc.retry, Steps: []handler.Step{
				c.step(1, "fine", nil),
				c.step(2, "bad", func(*event.Event) (*handler.Response, error) { return nil, tc.err }),
				c.step(3, "never reached", nil),
			}[:2]})
			e := &event.Event{ID: "e", Type: "github.push", Body: []byte("whole body")}
			e.Source, e.Receiver, e.SourceID, e.Time = "/github/default", "github", "default", time.Now().Add(-tc.age)
			header, data := e.Encode()
			if _, err := b.Publish(t.Context(), stream.Message{Subject: e.Subject(), Header: header, Data: data}); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
			if got := len(c.all()); got != tc.runs+1 {
				t.Errorf("handlers ran %d times, want fine once and bad %d times: %v", got, tc.runs, c.all())
			}
			m, err := b.Last(t.Context(), stream.Dead, stream.DeadEvents("c"))
			if err != nil {
				t.Fatal(err)
			}
			letter, err := event.Decode(m.Header, m.Data)
			if err != nil {
				t.Fatal(err)
			}
			if letter.ID != "e" || string(letter.Body) != "whole body" {
				t.Errorf("dead letter: %+v", letter)
			}
			if got := m.Header["belay-reason"][0]; got != tc.reason {
				t.Errorf("reason %s, want %s", got, tc.reason)
			}
			if got := m.Header["belay-handler"][0]; got != "bad" {
				t.Errorf("handler %s", got)
			}
			var failures []struct{ Error string }
			if err := json.Unmarshal([]byte(m.Header["belay-failures"][0]), &failures); err != nil {
				t.Fatal(err)
			}
			if tc.failure != "" && (len(failures) != tc.runs || failures[0].Error != tc.failure) {
				t.Errorf("failures: %+v", failures)
			}
		})
	}
}

func TestLargeEventIsGivenUpWhole(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Steps: []handler.Step{
		c.step(1, "a", func(*event.Event) (*handler.Response, error) { return nil, handler.Never(nil) }),
	}})
	e := &event.Event{ID: "e", Source: "/github/default", Receiver: "github", SourceID: "default", Type: "github.push",
		Time: time.Now(), Body: make([]byte, 3<<20)}
	if _, err := b.StoreEvent(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
	m, err := b.Last(t.Context(), stream.Dead, stream.DeadEvents("c"))
	if err != nil {
		t.Fatal(err)
	}
	if letter, err := b.ReadEvent(t.Context(), m); err != nil || len(letter.Body) != 3<<20 {
		t.Errorf("dead letter: %v", err)
	}
}

func TestLaterDoesNotCountAsAnAttempt(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	n := 0
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Retry: quick, Steps: []handler.Step{
		c.step(1, "a", func(*event.Event) (*handler.Response, error) {
			if n++; n <= 6 { // more often than the policy has attempts
				return nil, handler.Later(time.Millisecond, errors.New("busy"))
			}
			return nil, nil
		}),
	}})
	publish(t, b, "e", "push")
	c.wait(t, "e:a#1", "e:a#1", "e:a#1", "e:a#1", "e:a#1", "e:a#1", "e:a#1")
	waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
}

func TestPanicAndTimeoutAreErrors(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	slow := handler.Step{Order: 2, Name: "slow", Timeout: 20 * time.Millisecond, Handler: handler.HandlerFunc(
		func(ctx context.Context, e *event.Event) (*handler.Response, error) {
			c.add("%s:slow#%d", e.ID, e.Attempt)
			if e.Attempt == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, nil
		})}
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Retry: quick, Steps: []handler.Step{
		c.step(1, "panics", func(e *event.Event) (*handler.Response, error) {
			if e.Attempt == 1 {
				panic("boom")
			}
			return nil, nil
		}), slow,
	}})
	publish(t, b, "e", "push")
	c.wait(t, "e:panics#1", "e:panics#2", "e:slow#1", "e:slow#2")
}

func TestForeignMessageBecomesADeadLetter(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Steps: []handler.Step{c.step(1, "a", nil)}})
	if _, err := b.Publish(t.Context(), stream.Message{Subject: "belay.in.0.github.default.push", Data: []byte("no event")}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
	m, err := b.Last(t.Context(), stream.Dead, stream.DeadEvents("c"))
	if err != nil {
		t.Fatal(err)
	}
	if string(m.Data) != "no event" || m.Header["belay-reason"][0] != "unreadable" {
		t.Errorf("dead letter: %q %v", m.Data, m.Header)
	}
	publish(t, b, "e", "push")
	c.wait(t, "e:a#1")
}
