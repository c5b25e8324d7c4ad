package worker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

// putProgress writes what a worker has stored that died before its next write.
func putProgress(t *testing.T, b *stream.Broker, turn int) {
	t.Helper()
	data, err := json.Marshal(map[string]any{
		"next": "b", "order": 2, "failed": turn, "total": turn + 1, "turn": turn, "until": time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Bucket(stream.Progress).Put(t.Context(), "c.0.1.0", data); err != nil {
		t.Fatal(err)
	}
}

func TestEventComesBackThoughTheWorkerDiedBeforeItWasScheduled(t *testing.T) {
	chain := func(c *calls) handler.Chain {
		return handler.Chain{Name: "c", Retry: quick, Earliest: true, Steps: []handler.Step{c.step(1, "a", nil), c.step(2, "b", nil)}}
	}
	t.Run("for the first time", func(t *testing.T) {
		b := testbroker.New(t)
		var c calls
		publish(t, b, "e", "push")
		putProgress(t, b, 1)
		start(t, worker.Config{Broker: b}, chain(&c))
		c.wait(t, "e:b#2")
	})
	t.Run("for the second time", func(t *testing.T) {
		b := testbroker.New(t)
		var c calls
		e := &event.Event{ID: "e", Source: "/github/default", Type: "github.push", Receiver: "github", SourceID: "default", Time: time.Now()}
		header, data := e.Encode()
		header["belay-turn"] = []string{"1"}
		if _, err := b.Publish(t.Context(), stream.Message{Subject: stream.RetryDue("c", stream.Place{Seq: 1}), Header: header, Data: data}); err != nil {
			t.Fatal(err)
		}
		putProgress(t, b, 2)
		start(t, worker.Config{Broker: b}, chain(&c))
		c.wait(t, "e:b#3")
	})
}

func TestParkedEventGoesOnThoughTheBrokerHasLostItsLastProgress(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	e := &event.Event{ID: "e", Source: "/github/default", Type: "github.push", Receiver: "github", SourceID: "default", Time: time.Now()}
	header, data := e.Encode()
	header["belay-turn"] = []string{"2"}
	if _, err := b.Publish(t.Context(), stream.Message{Subject: stream.RetryDue("c", stream.Place{Seq: 1}), Header: header, Data: data}); err != nil {
		t.Fatal(err)
	}
	putProgress(t, b, 1)
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Retry: quick, Steps: []handler.Step{c.step(1, "a", nil), c.step(2, "b", nil)}})
	c.wait(t, "e:b#2")
}

func TestEventThatWaitsForLongerThanProgressIsKeptGoesOn(t *testing.T) {
	b := testbroker.Start(t).Connect()
	if err := b.Migrate(t.Context(), stream.Topology{Retention: 2 * time.Second, Window: time.Second}); err != nil {
		t.Fatal(err)
	}
	var c calls
	var due time.Time
	start(t, worker.Config{Broker: b, ShortRetry: 100 * time.Millisecond}, handler.Chain{Name: "c", Retry: quick, Steps: []handler.Step{
		c.step(1, "a", nil),
		c.step(2, "b", func(*event.Event) (*handler.Response, error) {
			if due.IsZero() {
				due = time.Now().Add(4 * time.Second)
				return nil, handler.Later(4*time.Second, errors.New("not yet"))
			}
			if early := time.Until(due); early > 100*time.Millisecond {
				t.Errorf("tried %v early", early)
			}
			return nil, nil
		}),
	}})
	publish(t, b, "e", "push")
	c.wait(t, "e:a#1", "e:b#1", "e:b#1")
}

func TestParkedEventWhoseProgressIsGoneBecomesADeadLetter(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	e := &event.Event{ID: "e", Source: "/github/default", Type: "github.push", Receiver: "github", SourceID: "default", Time: time.Now(), Body: []byte("body")}
	header, data := e.Encode()
	header["belay-turn"] = []string{"1"}
	if _, err := b.Publish(t.Context(), stream.Message{Subject: stream.RetryDue("c", stream.Place{Seq: 1}), Header: header, Data: data}); err != nil {
		t.Fatal(err)
	}
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Steps: []handler.Step{c.step(1, "a", nil)}})
	waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
	m, err := b.Last(t.Context(), stream.Dead, stream.DeadEvents("c"))
	if err != nil {
		t.Fatal(err)
	}
	if string(m.Data) != "body" || m.Header["belay-reason"][0] != "expired" {
		t.Errorf("dead letter: %q %v", m.Data, m.Header)
	}
}

func TestWhatDoesNotFitIsGivenUp(t *testing.T) {
	fails := func(text string) func(*event.Event) (*handler.Response, error) {
		return func(*event.Event) (*handler.Response, error) { return nil, errors.New(text) }
	}
	retry := quick
	retry.Attempts = 12
	for _, tc := range []struct {
		name, reason string
		steps        func(c *calls) []handler.Step
	}{
		{"values over the broker's limit", "values_too_large", func(c *calls) []handler.Step {
			return []handler.Step{c.step(1, "a", func(e *event.Event) (*handler.Response, error) {
				return nil, e.Values.Set("v", strings.Repeat("x", 2<<20))
			}), c.step(2, "b", fails("no"))}
		}},
		{"failures over the broker's limit of headers", "attempts_exhausted", func(c *calls) []handler.Step {
			// JSON needs six bytes for each of them.
			return []handler.Step{c.step(1, "b", fails(strings.Repeat("<", 2000)))}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := testbroker.New(t)
			var c calls
			start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Retry: retry, Steps: tc.steps(&c)})
			publish(t, b, "e", "push")
			waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
			m, err := b.Last(t.Context(), stream.Dead, stream.DeadEvents("c"))
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Header["belay-reason"][0]; got != tc.reason {
				t.Errorf("reason %s, want %s", got, tc.reason)
			}
			var failures []any
			if err := json.Unmarshal([]byte(m.Header["belay-failures"][0]), &failures); err != nil || len(failures) == 0 {
				t.Errorf("failures: %v %v", failures, err)
			}
		})
	}
}

// The broker takes 64 KiB of headers. An event that nearly fills them is given up all
// the same, and not tried for ever.
func TestEventWithLargeHeadersIsGivenUp(t *testing.T) {
	for _, size := range []int{30 << 10, 50 << 10, 62 << 10} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			b := testbroker.New(t)
			var c calls
			retry := quick
			retry.Attempts = 12
			start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Retry: retry, Steps: []handler.Step{
				c.step(1, "a", func(e *event.Event) (*handler.Response, error) {
					return nil, e.Values.Set("v", strings.Repeat("x", 10<<10))
				}),
				c.step(2, "b", func(*event.Event) (*handler.Response, error) {
					return nil, errors.New(strings.Repeat("<", 2000)) // six bytes for each in JSON
				}),
			}})
			publishEvent(t, b, &event.Event{ID: "e", Type: "github.push", Body: []byte("body"), Header: http.Header{"X-Kept": {strings.Repeat("x", size)}}})
			waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
			m, err := b.Last(t.Context(), stream.Dead, stream.DeadEvents("c"))
			if err != nil {
				t.Fatal(err)
			}
			e, err := event.Decode(m.Header, m.Data)
			if err != nil || e.ID != "e" || string(e.Body) != "body" {
				t.Errorf("dead letter of %v: %v", e, err)
			}
			if got := len(c.all()); got != 13 {
				t.Errorf("%d handlers ran, want 1 and 12", got)
			}
		})
	}
}

func TestOutageAfterAFailureRepeatsNoHandlerBeforeIt(t *testing.T) {
	server := testbroker.Start(t)
	b := server.Connect()
	if err := b.Migrate(t.Context(), stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	var c calls
	away := make(chan time.Time, 1)
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Retry: quick, Steps: []handler.Step{
		c.step(1, "a", nil),
		c.step(2, "b", func(e *event.Event) (*handler.Response, error) {
			if e.Attempt > 1 {
				return nil, nil
			}
			server.Stop()
			waitFor(t, func() bool { return b.Ready(t.Context()) != nil })
			away <- time.Now()
			return nil, errors.New("again")
		}),
	}})
	publish(t, b, "e", "push")
	since := <-away
	waitFor(t, func() bool { return time.Since(since) > 500*time.Millisecond })
	server.Restart()
	waitFor(t, func() bool { return len(c.all()) >= 3 })
	c.wait(t, "e:a#1", "e:b#1", "e:b#2")
}

func TestRolloutLosesNothingThatOnlyTheNewConfigurationSelects(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	chain := func(names ...string) handler.Chain {
		return handler.Chain{Name: "c", Events: names, Steps: []handler.Step{c.step(1, "h", nil)}}
	}
	start(t, worker.Config{Broker: b, Generation: 1}, chain("push"))
	start(t, worker.Config{Broker: b, Generation: 2}, chain("push", "issues"))
	const events = 12 // about half of them go to the old worker first
	for i := range events {
		publish(t, b, fmt.Sprint(i), "issues")
	}
	waitFor(t, func() bool { return len(c.all()) == events })
}
