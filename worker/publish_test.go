package worker_test

import (
	"strings"
	"testing"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

func publisher(t *testing.T) (*testbroker.Foreign, *stream.Broker) {
	t.Helper()
	s := testbroker.Start(t)
	b := s.Connect()
	if err := b.Migrate(t.Context(), stream.Topology{Shards: 1}); err != nil {
		t.Fatal(err)
	}
	return s.Foreign(), b
}

func TestPublishToAStream(t *testing.T) {
	foreign, b := publisher(t)
	chain := parsed(t, b, `chains: [{name: c, handlers: [{name: p, publish: {subject: "hooks.{type}.{json:id}"}}]}]`)
	// As after a crash, the step is repeated: it stores nothing twice.
	chain.Retry = quick
	first := true
	chain.Steps = append(chain.Steps, handler.Step{Order: 2, Name: "then", Handler: chain.Steps[0].Handler})
	chain.Steps[0].When = func(*event.Event) (bool, error) {
		if first {
			first = false
			// The stream comes with the second attempt.
			return true, nil
		}
		foreign.AddStream("HOOKS", "hooks.>")
		return true, nil
	}
	start(t, worker.Config{Broker: b}, chain)
	publishEvent(t, b, push("e", `{"id":"a.b c"}`))
	waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
	m, err := b.Last(t.Context(), "HOOKS", "hooks.>")
	if err != nil {
		t.Fatal(err)
	}
	got, err := event.Decode(m.Header, m.Data)
	if err != nil || m.Subject != "hooks.github.push.a%2Eb%20c" || got.ID != "e" || got.Type != "github.push" || string(got.Body) != `{"id":"a.b c"}` {
		t.Errorf("stored at %s: %+v, %v", m.Subject, got, err)
	}
	if r := records(t, b, "c", 0)[0]; r.Attempts != 3 || foreign.Count("HOOKS") != 2 {
		t.Errorf("%d attempts stored %d messages", r.Attempts, foreign.Count("HOOKS"))
	}
}

func TestPublishIsNotRepeatedInsideTheWindow(t *testing.T) {
	foreign, b := publisher(t)
	foreign.AddStream("HOOKS", "hooks.>")
	chain := parsed(t, b, `chains: [{name: c, handlers: [{name: p, publish: {subject: hooks.all}}]}]`)
	start(t, worker.Config{Broker: b}, chain)
	e := push("e", `{}`)
	e.Chain, e.Handler = "c", "p"
	for range 2 {
		if _, err := chain.Steps[0].Handler.Handle(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if n := foreign.Count("HOOKS"); n != 1 {
		t.Errorf("stored %d times", n)
	}
}

func TestPublishWithoutAStream(t *testing.T) {
	foreign, b := publisher(t)
	messages := foreign.Subscribe("live.>")
	chain := parsed(t, b, `chains: [{name: c, handlers: [{name: p, publish: {subject: "live.{receiver}.{source}", core: true}}]}]`)
	start(t, worker.Config{Broker: b}, chain)
	publishEvent(t, b, push("e", `{"n":1}`))
	if m := <-messages; m.Subject != "live.github.default" || string(m.Data) != `{"n":1}` || m.Header.Get("ce-id") != "e" {
		t.Errorf("got %s %v %s", m.Subject, m.Header, m.Data)
	}
}

func TestSubjectsAreChecked(t *testing.T) {
	for subject, ok := range map[string]bool{
		"hooks": true, "hooks.{type}": true, "hooks.{header:X-A?}.b": true, "hooks-{key}": false, "{type}": false, "{json:a}.b": false,
		"belay.in.0": false, "belay.{type}": false, "$JS.API": false, "_INBOX.x": false, "a..b": false, "a b": false, "a.*": false,
		"a.{url}": false, "": false, "hooks.": false,
	} {
		text := `chains: [{name: c, handlers: [{name: p, publish: {subject: "` + subject + `"}}]}]`
		file, err := config.Parse("belay.yaml", []byte(text), config.Options{})
		if err == nil {
			_, err = worker.Chains(file, nil, testbroker.Logger(t))
		}
		if (err == nil) != ok {
			t.Errorf("%q: %v", subject, err)
		}
	}
	_, b := publisher(t)
	chain := parsed(t, b, `chains: [{name: c, handlers: [{name: p, publish: {subject: "hooks.{header:X-A?}.{json:id?}"}}]}]`)
	_, err := chain.Steps[0].Handler.Handle(t.Context(), push("e", `{"id":""}`))
	if !handler.IsNever(err) || !strings.Contains(err.Error(), "none of them empty") {
		t.Errorf("an empty token: %v", err)
	}
}
