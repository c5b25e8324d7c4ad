package worker_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

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

// A broker may be there without its streams, and may go away while chains are set up.
func TestSettingUpWaitsForTheBroker(t *testing.T) {
	t.Parallel()
	server := testbroker.Start(t)
	b := server.Connect()
	if err := b.Migrate(t.Context(), stream.Topology{Shards: 1}); err != nil {
		t.Fatal(err)
	}
	requests := server.Foreign().Subscribe("$JS.API.>")
	if err := server.GlobalAccount().DisableJetStream(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		_, err := worker.New(ctx, worker.Config{Broker: b, Logger: testbroker.Logger(t)},
			handler.Chain{Name: "early", Steps: []handler.Step{(&calls{}).step(0, "a", nil)}})
		ended <- err
	}()
	for range 3 { // each is refused
		select {
		case <-requests:
		case err := <-ended:
			t.Fatalf("ended without its broker: %v", err)
		}
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
