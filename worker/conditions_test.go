package worker_test

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

// parsed is the first chain of a configuration file.
func parsed(t testing.TB, b *stream.Broker, text string) handler.Chain {
	t.Helper()
	file, err := config.Parse("belay.yaml", []byte(text), config.Options{Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	chains, err := worker.Chains(file, b, testbroker.Logger(t))
	if err != nil {
		t.Fatal(file.Locate(err))
	}
	return chains[0]
}

func push(id, body string) *event.Event {
	return &event.Event{ID: id, Type: "github.push", ContentType: "application/json", Body: []byte(body)}
}

func TestConditionsAndFilters(t *testing.T) {
	const text = `chains:
- name: c
  when: body.n > 0
  handlers:
  - {order: 1, name: one, when: body.n == 1, log: {}}
  - {order: 2, name: small, filter: body.n < 10}
  - {order: 3, name: all, log: {}}
  - {order: 4, name: again, when: "event.attempt < 1", log: {}}
`
	for body, want := range map[string]struct {
		outcome, reason, handler string
		ran                      []string
	}{
		`{"n":0}`:    {outcome: "passed"},
		`{"n":1}`:    {outcome: "done", ran: []string{"one", "small", "all"}},
		`{"n":2}`:    {outcome: "done", ran: []string{"small", "all"}},
		`{"n":20}`:   {outcome: "filtered", handler: "small", ran: []string{"small"}},
		`{}`:         {outcome: "dead", reason: "condition_failed"},
		`{"n":true}`: {outcome: "dead", reason: "condition_failed"},
	} {
		t.Run(body, func(t *testing.T) {
			got, err := worker.Try(t.Context(), parsed(t, nil, text), push("e", body))
			if err != nil {
				t.Fatal(err)
			}
			if got.Outcome != want.outcome || got.Reason != want.reason || got.Handler != want.handler || !slices.Equal(got.Ran, want.ran) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// What a condition or a filter cannot decide is kept, and not passed over.
func TestConditionThatFailsAtAHandler(t *testing.T) {
	for name, handlers := range map[string]string{
		"condition": `[{name: a, log: {}}, {name: b, when: body.none, log: {}}]`,
		"filter":    `[{name: a, log: {}}, {name: b, filter: body.none}]`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := worker.Try(t.Context(), parsed(t, nil, "chains: [{name: c, handlers: "+handlers+"}]"), push("e", `{"n":1}`))
			if err != nil || got.Outcome != "dead" || got.Reason != "condition_failed" || got.Handler != "b" ||
				!strings.Contains(got.Err.Error(), "the event has no none there") {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestConditionsInGo(t *testing.T) {
	var c calls
	fails := true
	flaky := c.step(1, "flaky", nil)
	flaky.When = func(*event.Event) (bool, error) {
		if fails {
			return false, errors.New("not now")
		}
		return true, nil
	}
	panics := c.step(2, "panics", nil)
	panics.When = func(*event.Event) (bool, error) { panic("oh") }
	chain := handler.Chain{
		Name: "c", Steps: []handler.Step{flaky, panics},
		When: func(e *event.Event) (bool, error) { return e.ID == "mine", nil },
	}
	got, err := worker.Try(t.Context(), chain, push("yours", "{}"))
	if err != nil || got.Outcome != "passed" {
		t.Fatalf("got %+v, %v", got, err)
	}
	got, err = worker.Try(t.Context(), chain, push("mine", "{}"))
	if err != nil || got.Outcome != "again" || got.Handler != "flaky" || got.Wait <= 0 {
		t.Fatalf("got %+v, %v", got, err)
	}
	fails = false
	got.Again(t.Context())
	if got.Outcome != "again" || got.Handler != "panics" || !strings.Contains(got.Err.Error(), "panic: oh") || !slices.Equal(got.Ran, []string{"flaky"}) {
		t.Errorf("got %+v", got)
	}
	c.wait(t, "mine:flaky#2")
}

// What a chain does not take leaves no record; what it filters has one.
func TestWhatIsRecordedOfConditions(t *testing.T) {
	b := testbroker.New(t)
	start(t, worker.Config{Broker: b}, parsed(t, b, `chains:
- name: c
  when: body.n > 0
  handlers: [{name: small, filter: body.n < 10}, {name: all, log: {}}]
`))
	for _, test := range []struct{ body, outcome string }{{`{"n":0}`, ""}, {`{"n":10}`, "filtered"}, {`{"n":0}`, ""}, {`{"n":1}`, "done"}} {
		publishEvent(t, b, push(event.NewID(), test.body))
		if test.outcome == "" {
			continue
		}
		waitFor(t, func() bool { r := records(t, b, "c", 0); return len(r) > 0 && r[0].Outcome == test.outcome })
		if r := records(t, b, "c", 0); len(r) != 1 {
			t.Errorf("recorded %+v", r)
		}
	}
}

func TestTransform(t *testing.T) {
	const text = `chains:
- name: c
  handlers:
  - {order: 1, name: short, transform: {jq: "{id: .order.id, by: $event.type}"}}
  - {order: 2, name: keep, transform: {jq: ".id + 1", keep: next}}
  - {order: 3, name: answer, respond: {body: "{json:id} {json:by}"}}
`
	chain := parsed(t, nil, text)
	e := push("e", `{"order":{"id":7}}`)
	got, err := worker.Try(t.Context(), chain, e)
	if err != nil || got.Outcome != "responded" || string(got.Response.Body) != "7 github.push" || string(got.Values["next"]) != "8" {
		t.Errorf("got %+v, %v", got, err)
	}
	if string(e.Body) != `{"order":{"id":7}}` {
		t.Errorf("the event is %s", e.Body)
	}
	got, err = worker.Try(t.Context(), chain, push("e", `[]`))
	if err != nil || got.Outcome != "dead" || got.Reason != "handler_gave_up" || got.Handler != "short" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A retry that resumes after a transform sees its result, another chain and the dead
// letter what came in.
func TestTransformSurvivesARetryAndStaysInItsChain(t *testing.T) {
	b := testbroker.New(t)
	var c, other calls
	chain := parsed(t, b, `chains: [{name: c, handlers: [{name: short, transform: {jq: "{n: (.n + 1)}"}}]}]`)
	chain.Retry = quick
	chain.Retry.Attempts = 2
	see := c.step(2, "see", func(e *event.Event) (*handler.Response, error) {
		c.add("%s %s", e.Body, e.ContentType)
		return nil, errors.New("fails")
	})
	chain.Steps = append(chain.Steps, see)
	start(t, worker.Config{Broker: b}, chain, handler.Chain{Name: "other", Steps: []handler.Step{
		other.step(1, "see", func(e *event.Event) (*handler.Response, error) {
			other.add("%s", e.Body)
			return nil, nil
		}),
	}})
	publishEvent(t, b, push("e", `{"n":1}`))
	c.wait(t, "e:see#1", `{"n":2} application/json`, "e:see#2", `{"n":2} application/json`)
	other.wait(t, "e:see#1", `{"n":1}`)
	waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
	letter, err := b.Last(t.Context(), stream.Dead, stream.DeadEvents("c"))
	if err != nil || string(letter.Data) != `{"n":1}` {
		t.Errorf("the dead letter is %+v, %v", letter, err)
	}
}

func TestExpressionErrorsPointAtTheFile(t *testing.T) {
	const text = `chains:
- name: c
  when: bdy.n > 0
  handlers:
  - name: a
    when: |
      body.a == 1 &&
        evnt.id == "x"
    log: {}
  - {name: b, filter: "body.n +"}
  - {name: d, transform: {jq: '{id: .id, ,}'}}
  - {name: e, filter: event.id}
`
	file, err := config.Parse("belay.yaml", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = worker.Chains(file, nil, testbroker.Logger(t))
	got := file.Locate(err).Error()
	for _, want := range []string{
		"belay.yaml:3:9: chains[0].when: undeclared reference to 'bdy' (did you mean 'body'?)\n    bdy.n > 0\n    ^",
		"belay.yaml:8:13: chains[0].handlers[0].when: undeclared reference to 'evnt",
		"\n      evnt.id == \"x\"\n          ^",
		"belay.yaml:10:32: chains[0].handlers[1].filter: Syntax error: mismatched input '<EOF>'\n",
		"belay.yaml:11:42: ",
		"\n    {id: .id, ,}\n              ^",
		"belay.yaml:12: chains[0].handlers[3].filter: want a condition, which is true or false; it is of type string",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant in it\n%s", got, want)
		}
	}
}

// Conditions and checkpoints in an ordered chain: what it does not take holds nobody
// up, and the order stays.
func TestOrderedChainWithConditionsAndCheckpoints(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	failed := false
	chain := handler.Chain{
		Name: "c", Ordered: true, Checkpoint: true, Retry: quick,
		When: func(e *event.Event) (bool, error) { return e.ID != "2", nil },
		Steps: []handler.Step{c.step(1, "a", nil), c.step(2, "b", func(e *event.Event) (*handler.Response, error) {
			if e.ID == "1" && !failed {
				failed = true
				return nil, errors.New("once")
			}
			return nil, nil
		})},
	}
	start(t, worker.Config{Broker: b, Lease: leaseInTests}, chain)
	for _, id := range []string{"1", "2", "3"} {
		e := push(id, "{}")
		e.Key = "one"
		publishEvent(t, b, e)
	}
	c.wait(t, "1:a#1", "1:b#1", "1:b#2", "3:a#1", "3:b#1")
}

// What a chain's condition does not take costs the broker no request of its own.
func TestManyEventsThatAChainDoesNotTakeShareALook(t *testing.T) {
	server := testbroker.Start(t)
	b := server.Connect()
	if err := b.Migrate(t.Context(), stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	const events = 600
	for i := range events {
		publish(t, b, strconv.Itoa(i), "push")
	}
	// The server tells of each request to its API.
	var looks, told atomic.Int64
	requests := server.Foreign().Subscribe("$JS.EVENT.ADVISORY.API")
	go func() {
		for {
			select {
			case <-t.Context().Done():
				return
			case m := <-requests:
				told.Add(1)
				if bytes.Contains(m.Data, []byte("$JS.API.CONSUMER.INFO.")) {
					looks.Add(1)
				}
			}
		}
	}()
	var c calls
	start(t, worker.Config{Broker: b}, handler.Chain{
		Name: "c", Earliest: true, When: func(*event.Event) (bool, error) { return false, nil },
		Steps: []handler.Step{c.step(1, "a", nil)},
	})
	waitFor(t, func() bool {
		all, err := b.Standings(t.Context(), stream.In(0))
		return err == nil && len(all) == 1 && all[0].Held == 0 && all[0].Pending == 0
	})
	if told.Load() == 0 {
		t.Fatal("no request was told of")
	}
	if n := looks.Load(); n > events/4 {
		t.Errorf("%d requests for %d events that the chain does not take", n, events)
	}
}
