package console_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// ensureChain makes what a worker makes for a chain.
func ensureChain(t *testing.T, b *stream.Broker, name string) {
	t.Helper()
	for _, c := range []stream.ConsumerConfig{
		{Stream: stream.In(0), Name: stream.ChainConsumer(name, false), Start: stream.Start{Earliest: true}},
		{Stream: stream.Retry, Name: stream.ChainConsumer(name, false), Filters: []string{stream.RetryDueAll(name)}},
	} {
		if _, err := b.EnsureConsumer(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

func TestChains(t *testing.T) {
	b := testbroker.New(t)
	d := newDesk(t, b, "ann=key")
	ensureChain(t, b, "orders")
	ensureChain(t, b, "old")
	for _, id := range []string{"a", "b"} {
		if _, err := b.StoreEvent(t.Context(), &event.Event{
			ID: id, Source: "/github/default", Type: "github.push", Receiver: "github", SourceID: "default", Time: time.Now(),
		}); err != nil {
			t.Fatal(err)
		}
	}
	place := stream.Place{Seq: 1}
	if err := standing.NewLog(b).Write(t.Context(), "old", place, standing.Progress{Turn: 1}); err != nil {
		t.Fatal(err)
	}
	if err := b.Schedule(t.Context(), stream.Message{Subject: stream.RetryDue("old", place)}, stream.RetryWait("old", place), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	leave, err := b.Attend("orders")
	if err != nil {
		t.Fatal(err)
	}

	chains := func() map[string]map[string]any {
		all := map[string]map[string]any{}
		for _, c := range d.want(http.StatusOK, "GET", "/v1/chains", "")["chains"].([]any) {
			c := c.(map[string]any)
			all[c["name"].(string)] = c
		}
		return all
	}
	all := chains()
	if c := all["orders"]; c["state"] != "running" || c["backlog"] != 2.0 || c["parked"] != 0.0 || c["oldest"] == nil {
		t.Errorf("orders: %v", c)
	}
	if c := all["old"]; c["state"] != "unattended" || c["backlog"] != 2.0 || c["parked"] != 1.0 {
		t.Errorf("old: %v", c)
	}

	d.want(http.StatusNotFound, "POST", "/v1/chains/none/pause", "")
	d.want(http.StatusUnprocessableEntity, "POST", "/v1/chains/orders/pause", `{"reason":"x"}`)
	c := d.want(http.StatusOK, "POST", "/v1/chains/orders/pause", `{"why":"the database moves"}`)
	if p, _ := c["paused"].(map[string]any); c["state"] != "paused" || p["by"] != "ann" || p["why"] != "the database moves" || p["at"] == nil {
		t.Errorf("paused: %v", c)
	}
	if c := d.want(http.StatusOK, "POST", "/v1/chains/orders/resume", ""); c["state"] != "running" || c["paused"] != nil {
		t.Errorf("resumed: %v", c)
	}

	d.want(http.StatusConflict, "DELETE", "/v1/chains/orders", "")
	d.want(http.StatusOK, "DELETE", "/v1/chains/old", "")
	d.want(http.StatusNotFound, "DELETE", "/v1/chains/old", "")
	if all := chains(); len(all) != 1 {
		t.Errorf("left: %v", all)
	}
	if _, err := b.Last(t.Context(), stream.Retry, stream.RetryWait("old", place)); err == nil {
		t.Error("what it had parked is still there")
	}
	if _, revision, err := standing.NewLog(b).Find(t.Context(), "old", place); err != nil || revision != 0 {
		t.Errorf("its progress is still there: %v %v", revision, err)
	}
	leave()
	d.want(http.StatusOK, "DELETE", "/v1/chains/orders", "")
}

func TestSources(t *testing.T) {
	b := testbroker.New(t)
	d := newDesk(t, b, "ann=key")
	off := func() []any { return d.want(http.StatusOK, "GET", "/v1/sources", "")["sources"].([]any) }
	if got := off(); len(got) != 0 {
		t.Errorf("off: %v", got)
	}
	d.want(http.StatusNotFound, "POST", "/v1/sources/GitHub/x*/switch-off", "")
	s := d.want(http.StatusOK, "POST", "/v1/sources/github/eu/switch-off", `{"why":"archived"}`)
	if o, _ := s["off"].(map[string]any); s["id"] != "eu" || o["by"] != "ann" || o["why"] != "archived" {
		t.Errorf("switched off: %v", s)
	}
	if got := off(); len(got) != 1 {
		t.Errorf("off: %v", got)
	}
	if s := d.want(http.StatusOK, "POST", "/v1/sources/github/eu/resume", ""); s["off"] != nil {
		t.Errorf("resumed: %v", s)
	}
	if got := off(); len(got) != 0 {
		t.Errorf("off: %v", got)
	}
}
