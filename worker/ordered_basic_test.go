package worker_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

func publishKey(t *testing.T, b *stream.Broker, id, key string) {
	t.Helper()
	publishEvent(t, b, &event.Event{ID: id, Key: key, Type: event.TypeOf("github", "push"), Body: []byte(`{}`)})
}

func ordered(steps ...handler.Step) handler.Chain {
	return handler.Chain{Name: "c", Ordered: true, Earliest: true, Retry: quick, Steps: steps}
}

func TestFailingKeyHoldsBackOnlyItself(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	chain := ordered(c.step(1, "h", func(e *event.Event) (*handler.Response, error) {
		if e.ID == "a1" && e.Attempt < 3 || e.ID == "b1" {
			return nil, errors.New("no")
		}
		return nil, nil
	}))
	for _, id := range []string{"a1", "b1", "a2", "b2", "free", "a3"} {
		publishKey(t, b, id, id[:1])
	}
	start(t, worker.Config{Broker: b}, chain)
	const runs = 3 + 4 + 4 // of a1, of b1 until it is given up, of the others
	waitFor(t, func() bool { return len(c.all()) >= runs })
	got := map[string][]string{}
	for _, call := range c.all() {
		got[call[:1]] = append(got[call[:1]], call)
	}
	for key, want := range map[string][]string{
		"a": {"a1:h#1", "a1:h#2", "a1:h#3", "a2:h#1", "a3:h#1"},
		"b": {"b1:h#1", "b1:h#2", "b1:h#3", "b1:h#4", "b2:h#1"},
		"f": {"free:h#1"},
	} {
		if !slices.Equal(got[key], want) {
			t.Errorf("key %s: %q, want %q", key, got[key], want)
		}
	}
}

// Of a long wait, PROGRESS tells the next owner when it is over.
func TestWaitOfAKeyOutlivesItsOwner(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	chain := ordered(c.step(1, "h", func(e *event.Event) (*handler.Response, error) {
		if e.ID == "a1" && e.Attempt == 1 {
			return nil, errors.New("no")
		}
		return nil, nil
	}))
	chain.Retry.First, chain.Retry.Max = 5*time.Second, 5*time.Second // longer than a shard may be without an owner
	publishKey(t, b, "a1", "a")
	publishKey(t, b, "a2", "a")
	_, stop := start(t, worker.Config{Broker: b}, chain)
	c.wait(t, "a1:h#1")
	failed := time.Now()
	waitFor(t, func() bool { return len(c.all()) == 1 })
	stop()
	start(t, worker.Config{Broker: b}, chain)
	publishKey(t, b, "other", "o")
	c.wait(t, "a1:h#1", "other:h#1", "a1:h#2", "a2:h#1")
	if waited := time.Since(failed); waited < 5*time.Second-100*time.Millisecond {
		t.Errorf("tried again after %v, want the 5 s of the policy", waited)
	}
}

func TestShardPausesWhenTooManyWait(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	open := make(chan struct{})
	chain := ordered(c.step(1, "h", func(e *event.Event) (*handler.Response, error) {
		select {
		case <-open:
			return nil, nil
		default:
		}
		return nil, handler.Later(50*time.Millisecond, nil)
	}))
	chain.MaxWaiting, chain.Retry.GiveUp = 10, time.Hour
	metrics := prometheus.NewRegistry()
	const events = 100
	for i := range events {
		publishKey(t, b, "a"+strconv.Itoa(i), "a")
	}
	start(t, worker.Config{Broker: b, Metrics: metrics}, chain)
	waitFor(t, func() bool { return gauge(t, metrics, "belay_worker_ordered_paused") == 1 })
	if waiting := gauge(t, metrics, "belay_worker_ordered_waiting_events"); waiting > 10 {
		t.Errorf("%v events wait", waiting)
	}
	close(open)
	waitFor(t, func() bool { return len(finished(t, b, "c")) == events })
	var last int
	for _, call := range c.all() {
		n, _ := strconv.Atoi(call[1:strings.IndexByte(call, ':')])
		if n < last {
			t.Errorf("%s after a%d", call, last)
		}
		last = n
	}
}

func gauge(t *testing.T, metrics *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return 0
}

func TestChainIsNotSwitchedUnderItsName(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	loose, strict := ordered(c.step(1, "h", nil)), ordered(c.step(1, "h", nil))
	loose.Ordered = false
	for _, change := range []struct {
		name     string
		from, to handler.Chain
	}{{"x", loose, strict}, {"y", strict, loose}} {
		change.from.Name, change.to.Name = change.name, change.name
		config := worker.Config{Broker: b, Logger: testbroker.Logger(t)}
		if _, err := worker.New(t.Context(), config, change.from); err != nil {
			t.Fatal(err)
		}
		_, err := worker.New(t.Context(), config, change.to)
		if err == nil || !strings.Contains(err.Error(), "another name") {
			t.Errorf("from ordered %v to %v: %v", change.from.Ordered, change.to.Ordered, err)
		}
		if _, err := worker.New(t.Context(), config, change.from); err != nil {
			t.Errorf("the chain as it was: %v", err)
		}
	}
}

func TestOrderedChainBeginsWhereItIsTold(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	chain := ordered(c.step(1, "h", nil))
	chain.Earliest = false
	publishKey(t, b, "before", "a")
	w, stop := start(t, worker.Config{Broker: b}, chain)
	publishKey(t, b, "after", "a")
	c.wait(t, "after:h#1")
	if err := w.Reload(context.WithoutCancel(t.Context()), 1, chain); err != nil {
		t.Fatal(err)
	}
	publishKey(t, b, "reloaded", "a")
	c.wait(t, "after:h#1", "reloaded:h#1")
	stop()
}
