package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
