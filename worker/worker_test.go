package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// calls records what handlers ran, in order.
type calls struct {
	mu   sync.Mutex
	list []string
}

func (c *calls) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, fmt.Sprintf(format, args...))
}

func (c *calls) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}

func (c *calls) wait(t *testing.T, want ...string) {
	t.Helper()
	waitFor(t, func() bool { return len(c.all()) >= len(want) })
	if got := c.all(); !slices.Equal(got, want) {
		t.Errorf("handlers ran:\n%q\nwant:\n%q", got, want)
	}
}

// step is a handler that records its run and returns what f says.
func (c *calls) step(order int, name string, f func(e *event.Event) (*handler.Response, error)) handler.Step {
	return handler.Step{Order: order, Name: name, Handler: handler.HandlerFunc(
		func(_ context.Context, e *event.Event) (*handler.Response, error) {
			c.add("%s:%s#%d", e.ID, name, e.Attempt)
			if f == nil {
				return nil, nil
			}
			return f(e)
		})}
}

var quick = handler.Retry{Attempts: 4, First: 10 * time.Millisecond, Factor: 1, Max: time.Second, GiveUp: time.Hour}

// start runs a worker that ends with the test, or with stop.
func start(t *testing.T, c worker.Config, chains ...handler.Chain) (w *worker.Worker, stop func()) {
	t.Helper()
	c.Logger = testbroker.Logger(t)
	w, err := worker.New(t.Context(), c, chains...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(stop)
	return w, stop
}

func publish(t *testing.T, b *stream.Broker, id, name string) {
	t.Helper()
	publishEvent(t, b, &event.Event{ID: id, Type: event.TypeOf("github", name), Body: []byte(`{"n":1}`)})
}

func publishEvent(t *testing.T, b *stream.Broker, e *event.Event) {
	t.Helper()
	e.Source, e.Receiver, e.SourceID, e.Time = "/github/default", "github", "default", time.Now()
	header, data := e.Encode()
	if _, err := b.Publish(t.Context(), stream.Message{Subject: e.Subject(), Header: header, Data: data, ID: e.MsgID()}); err != nil {
		t.Fatal(err)
	}
}

func records(t *testing.T, b *stream.Broker, chain string, shard int) []stream.Record {
	t.Helper()
	m, err := b.Last(t.Context(), stream.Done, stream.DoneSubject(chain, shard))
	if errors.Is(err, stream.ErrNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var r []stream.Record
	if err := json.Unmarshal(m.Data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHandlersRunInOrderAndTheEndIsRecorded(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Steps: []handler.Step{
		c.step(30, "third", nil), c.step(10, "first", nil), c.step(20, "second", nil),
	}})
	publish(t, b, "e1", "push")
	c.wait(t, "e1:first#1", "e1:second#1", "e1:third#1")
	waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
	if r := records(t, b, "c", 0)[0]; r.Seq != 1 || r.Outcome != "done" || len(r.Steps) != 3 || r.Attempts != 3 {
		t.Errorf("record: %+v", r)
	}
}

func TestChainTakesOnlyWhatItSelects(t *testing.T) {
	b := testbroker.NewSharded(t, 3)
	var c calls
	start(t, worker.Config{Broker: b}, handler.Chain{
		// The two patterns overlap: the broker's filter is wider than both.
		Name: "c", From: []string{"github"}, Events: []string{"*.opened", "issues.*"},
		Steps: []handler.Step{c.step(1, "h", nil)},
	})
	for i, name := range []string{"push", "release.published", "issues.closed", "pull_request.opened"} {
		publish(t, b, strconv.Itoa(i), name)
		if i >= 2 {
			waitFor(t, func() bool { return len(c.all()) == i-1 })
		}
	}
	c.wait(t, "2:h#1", "3:h#1")
}

func TestStepRunsOnlyForItsReceivers(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	other := c.step(1, "other", nil)
	other.From = []string{"stripe"}
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Steps: []handler.Step{other, c.step(2, "mine", nil)}})
	publish(t, b, "e", "push")
	c.wait(t, "e:mine#1")
}

func TestResponseStopsTheChain(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Steps: []handler.Step{
		c.step(1, "a", func(*event.Event) (*handler.Response, error) { return &handler.Response{Status: 202}, nil }),
		c.step(2, "b", nil),
	}})
	publish(t, b, "e", "push")
	waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
	if r := records(t, b, "c", 0)[0]; r.Outcome != "responded" || r.Status != 202 {
		t.Errorf("record: %+v", r)
	}
	c.wait(t, "e:a#1")
}

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
					keys[e.IdempotencyKey] = true
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

func TestStopGivesBackWithoutCountingAnAttempt(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	began := make(chan struct{}, 1)
	chain := func(block bool) handler.Chain {
		return handler.Chain{Name: "c", Retry: quick, Steps: []handler.Step{
			c.step(1, "a", nil),
			{Order: 2, Name: "b", Handler: handler.HandlerFunc(func(ctx context.Context, e *event.Event) (*handler.Response, error) {
				c.add("%s:b#%d", e.ID, e.Attempt)
				if block {
					began <- struct{}{}
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return nil, nil
			})},
		}}
	}
	_, stop := start(t, worker.Config{Broker: b, Grace: 50 * time.Millisecond}, chain(true))
	publish(t, b, "e", "push")
	<-began
	stop()
	if r := records(t, b, "c", 0); r != nil {
		t.Errorf("an interrupted event was recorded: %+v", r)
	}
	start(t, worker.Config{Broker: b}, chain(false))
	// Nothing of an interrupted run is recorded, so a runs again: guarantee 3.
	c.wait(t, "e:a#1", "e:b#1", "e:a#1", "e:b#1")
}

func TestHandlerThatEndsAfterTheGracePeriodIsRecorded(t *testing.T) {
	b := testbroker.New(t)
	began := make(chan struct{}, 1)
	_, stop := start(t, worker.Config{Broker: b, Grace: 50 * time.Millisecond}, handler.Chain{Name: "c", Steps: []handler.Step{{
		Name: "h", Handler: handler.Do(func(ctx context.Context, _ *event.Event) error {
			began <- struct{}{}
			<-ctx.Done()
			return nil
		}),
	}}})
	publish(t, b, "e", "push")
	<-began
	stop()
	if r := records(t, b, "c", 0); len(r) != 1 || r[0].Outcome != "done" {
		t.Errorf("records: %+v", r)
	}
}

func TestParkedEventSurvivesANewWorker(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	retry := quick
	retry.First, retry.Max = time.Second, time.Second
	chain := handler.Chain{Name: "c", Retry: retry, Steps: []handler.Step{
		c.step(1, "a", nil),
		c.step(2, "b", func(e *event.Event) (*handler.Response, error) {
			if e.Attempt == 1 {
				return nil, errors.New("again")
			}
			return nil, nil
		}),
	}}
	_, stop := start(t, worker.Config{Broker: b, ShortRetry: time.Nanosecond}, chain)
	publish(t, b, "e", "push")
	waitFor(t, func() bool {
		_, err := b.Last(t.Context(), stream.Retry, "belay.retry.wait.>")
		return err == nil
	})
	stop()
	start(t, worker.Config{Broker: b, ShortRetry: time.Nanosecond}, chain)
	c.wait(t, "e:a#1", "e:b#1", "e:b#2")
}

func TestReloadReplacesTheChains(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	chain := func(name, step string) handler.Chain {
		return handler.Chain{Name: name, Steps: []handler.Step{c.step(1, step, nil)}}
	}
	w, _ := start(t, worker.Config{Broker: b}, chain("c", "old"))
	publish(t, b, "1", "push")
	c.wait(t, "1:old#1")
	if err := w.Reload(t.Context(), 0, handler.Chain{Name: "BAD"}); err == nil {
		t.Error("a bad chain was accepted")
	}
	publish(t, b, "2", "push")
	c.wait(t, "1:old#1", "2:old#1")
	if err := w.Reload(t.Context(), 1, chain("c", "new")); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "3", "push")
	c.wait(t, "1:old#1", "2:old#1", "3:new#1")
}

func TestChainHandlesAsManyEventsAtOnceAsItSays(t *testing.T) {
	b := testbroker.New(t)
	began, finish := make(chan struct{}, 2), make(chan struct{})
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Concurrency: 2, Steps: []handler.Step{{
		Name: "h", Handler: handler.Do(func(context.Context, *event.Event) error {
			began <- struct{}{}
			<-finish
			return nil
		}),
	}}})
	t.Cleanup(func() { close(finish) })
	publish(t, b, "1", "push")
	publish(t, b, "2", "push")
	waitFor(t, func() bool { return len(began) == 2 })
}

func TestReloadDoesNotWaitForASlowHandler(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	began, finish := make(chan struct{}), make(chan struct{})
	w, _ := start(t, worker.Config{Broker: b}, handler.Chain{Name: "slow", Steps: []handler.Step{{
		Name: "h", Handler: handler.Do(func(context.Context, *event.Event) error {
			close(began)
			<-finish
			return nil
		}),
	}}})
	t.Cleanup(func() { close(finish) })
	publish(t, b, "1", "push")
	<-began
	if err := w.Reload(t.Context(), 1, handler.Chain{Name: "quick", Steps: []handler.Step{c.step(1, "h", nil)}}); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "2", "push")
	c.wait(t, "2:h#1")
	waitFor(t, func() bool { return len(records(t, b, "quick", 0)) == 1 })
}

func TestTwoChainsAndTwoWorkersShareTheEvents(t *testing.T) {
	b := testbroker.NewSharded(t, 3)
	const events = 200
	var mu sync.Mutex
	seen := map[string]int{}
	chain := func(name string) handler.Chain {
		return handler.Chain{Name: name, Steps: []handler.Step{{Name: "h", Handler: handler.Do(
			func(_ context.Context, e *event.Event) error {
				mu.Lock()
				defer mu.Unlock()
				seen[name+e.ID]++
				return nil
			})}}}
	}
	start(t, worker.Config{Broker: b}, chain("one"), chain("two"))
	start(t, worker.Config{Broker: b}, chain("one"), chain("two"))
	for i := range events {
		publish(t, b, strconv.Itoa(i), "push")
	}
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == 2*events })
	mu.Lock()
	defer mu.Unlock()
	for key, n := range seen {
		if n != 1 {
			t.Errorf("%s was handled %d times", key, n)
		}
	}
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

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.After(45 * time.Second) // above the 30 s after which a lost message comes again
	for !condition() {
		select {
		case <-deadline:
			t.Fatal("did not happen in time")
		case <-time.After(5 * time.Millisecond):
		}
	}
}
