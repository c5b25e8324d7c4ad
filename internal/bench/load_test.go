package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/bench"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
)

type text string

func (s text) Value() (string, error) { return string(s), nil }

func source(t *testing.T, provider string) *receiver.Source {
	t.Helper()
	s, err := receiver.NewSource(receiver.SourceConfig{Receiver: provider, Secrets: []receiver.Secret{text("s3cret")}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// hooks is one webhook whose id is in a header, and one whose id is in the body.
func hooks(t *testing.T) []*bench.Hook {
	t.Helper()
	const id = "evt_1Belay000000000000"
	github, err := bench.NewHook(bench.HookConfig{
		Source: source(t, "github"), Path: "/webhooks/github", Body: []byte(`{"ref":"main"}`), ID: id,
		Header: http.Header{"Content-Type": {"application/json"}, "X-Github-Event": {"push"}, "X-Github-Delivery": {id}},
	})
	if err != nil {
		t.Fatal(err)
	}
	stripe, err := bench.NewHook(bench.HookConfig{
		Source: source(t, "stripe"), Path: "/webhooks/stripe", Body: []byte(`{"id":"` + id + `","type":"charge.succeeded"}`),
		Header: http.Header{"Content-Type": {"application/json"}}, ID: id, Signature: "Stripe-Signature",
	})
	if err != nil {
		t.Fatal(err)
	}
	return []*bench.Hook{github, stripe}
}

// door verifies what comes and stores it, or answers what status says.
func door(t *testing.T, broker *stream.Broker, status func(n int) int) *httptest.Server {
	t.Helper()
	sources := map[string]*receiver.Source{"/webhooks/github": source(t, "github"), "/webhooks/stripe": source(t, "stripe")}
	var mu sync.Mutex
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n++
		code := status(n)
		mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		received, err := sources[r.URL.Path].Receive(r, body, time.Now())
		if err != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
			return
		}
		if code == http.StatusAccepted {
			receipt, err := broker.StoreEvent(r.Context(), received.Event)
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Belay-Duplicate", fmt.Sprint(receipt.Duplicate))
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestLoad(t *testing.T) {
	always := func(int) int { return http.StatusAccepted }
	for _, test := range []struct {
		name   string
		load   bench.Load
		status func(int) int
		check  func(*testing.T, *bench.Phase, bench.Count)
	}{
		{"closed loop", bench.Load{Connections: 4}, always, func(t *testing.T, p *bench.Phase, _ bench.Count) {
			if p.Accepted != p.Sent || p.Recognized != 0 {
				t.Errorf("%+v", p)
			}
		}},
		{"sent twice", bench.Load{Connections: 4, Duplicates: .5}, always, func(t *testing.T, p *bench.Phase, c bench.Count) {
			if p.Resent == 0 || p.Recognized != p.Resent || c.Stored != p.Sent-p.Resent {
				t.Errorf("%+v, %+v", p, c)
			}
		}},
		{"at a rate", bench.Load{Connections: 4, Rate: 100}, always, func(t *testing.T, p *bench.Phase, _ bench.Count) {
			if p.Sent > 60 {
				t.Errorf("%d were sent in half a second, want at most 50", p.Sent)
			}
		}},
		{"refused", bench.Load{Connections: 2}, func(n int) int {
			if n%2 == 0 {
				return http.StatusServiceUnavailable
			}
			return http.StatusAccepted
		}, func(t *testing.T, p *bench.Phase, c bench.Count) {
			if p.Refused[http.StatusServiceUnavailable] == 0 || p.Accepted+p.Refused[http.StatusServiceUnavailable] != p.Sent || c.Accepted != p.Accepted {
				t.Errorf("%+v, %+v", p, c)
			}
		}},
		{"a liar", bench.Load{Connections: 2}, func(n int) int {
			if n%2 == 0 {
				return http.StatusOK // and nothing is stored
			}
			return http.StatusAccepted
		}, func(t *testing.T, _ *bench.Phase, c bench.Count) {
			if c.Holds() || c.Missing == 0 {
				t.Errorf("the lies were not noticed: %+v", c)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			broker := testbroker.Start(t)
			connected := broker.Connect()
			if err := connected.Migrate(t.Context(), stream.Topology{}); err != nil {
				t.Fatal(err)
			}
			test.load.Addr = strings.TrimPrefix(door(t, connected, test.status).URL, "http://")
			test.load.Hooks = hooks(t)
			g, err := bench.NewGenerator(t.Context(), test.load)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			phase, err := g.Run(t.Context(), 500*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			count, err := g.Count(t.Context(), broker.ClientURL(), stream.In(0))
			if err != nil {
				t.Fatal(err)
			}
			if phase.Accepted == 0 || phase.Failed > 0 || uint64(len(phase.Latencies)) != phase.Accepted || phase.Latency(.5) > phase.Latency(1) {
				t.Errorf("%+v", phase)
			}
			if test.name != "a liar" && !count.Holds() {
				t.Errorf("%+v", count)
			}
			test.check(t, phase, count)
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	defer server.Close()
	g, err := bench.NewGenerator(t.Context(), bench.Load{Addr: strings.TrimPrefix(server.URL, "http://"), Hooks: hooks(t), Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if p, err := g.Run(ctx, time.Hour); err != nil || p.Accepted == 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestNumbered(t *testing.T) {
	for _, hook := range hooks(t) {
		for _, n := range []uint64{1, 42, 999_999_999_999} {
			text, err := hook.Numbered(n, time.Now())
			if err != nil || bytes.Count(text, fmt.Appendf(nil, "evt_1Belay%012d", n)) != 1 {
				t.Errorf("%d: %s, %v", n, text, err)
			}
		}
		if _, err := hook.Numbered(1_000_000_000_000, time.Now()); err == nil {
			t.Error("a number that has no room is no error")
		}
	}
}
