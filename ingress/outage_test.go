package ingress_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/ingress"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
)

// outage opens a door before a broker that the test can stop.
func outage(t *testing.T, sources ...*receiver.Source) (*door, *testbroker.Server) {
	t.Helper()
	server := testbroker.Start(t)
	broker := server.Connect()
	if err := broker.Migrate(t.Context(), stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	return open(t, ingress.Config{}, broker, sources...), server
}

// A request that the broker's absence holds up, and the stop of the server too,
// is stored and answered once the broker is back.
func TestOutageShorterThanTheBudgetAndDrain(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	d, broker := outage(t, github)
	broker.Stop()
	status := make(chan int, 1)
	go func() {
		resp, err := d.client.Do(d.request(github, "/webhooks/github", issueOpened, nil))
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		_ = resp.Body.Close()
		if resp.Header.Get("Belay-Duplicate") != "" {
			t.Error("the only request of its id is called a duplicate")
		}
		status <- resp.StatusCode
	}()
	eventually(t, "the request is in hand", func() bool { return d.inFlight() == 1 })
	d.stop()
	eventually(t, "the door is closed", func() bool {
		conn, err := net.Dial("tcp", d.server.Addr().String())
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	select {
	case err := <-d.stopped:
		t.Fatal("the server stopped with a request in hand:", err)
	default:
	}
	broker.Restart()
	if got := <-status; got != http.StatusAccepted {
		t.Errorf("status %d, want 202", got)
	}
	if err := <-d.stopped; err != nil {
		t.Error(err)
	}
	if n := d.storedCount(); n != 1 {
		t.Errorf("%d stored, want 1", n)
	}
}

func TestOutageLongerThanTheBudget(t *testing.T) {
	stripe := source(t, receiver.SourceConfig{Receiver: "stripe"})
	d, broker := outage(t, stripe)
	broker.Stop()
	start := time.Now()
	resp, body := d.send(d.request(stripe, "/webhooks/stripe", `{"id":"evt_1"}`, nil))
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || resp.Header.Get("Belay-Event-Id") != "" {
		t.Errorf("status %d, header %v, body %s", resp.StatusCode, resp.Header, body)
	}
	if took := time.Since(start); took > stripe.Budget()+time.Second {
		t.Errorf("answered after %s, over the budget of %s", took, stripe.Budget())
	}
	if n := d.count("stripe/default", "store_unavailable"); n != 1 {
		t.Errorf("%v counted, want 1", n)
	}
	eventually(t, "it is unready", func() bool { return errors.Is(d.server.Ready(t.Context()), stream.ErrUnavailable) })
	broker.Restart()
	eventually(t, "the sender's next try is stored", func() bool {
		resp, _ := d.send(d.request(stripe, "/webhooks/stripe", `{"id":"evt_1"}`, nil))
		return resp.StatusCode == http.StatusAccepted
	})
	if err := d.server.Ready(t.Context()); err != nil {
		t.Errorf("not ready once it is stored: %v", err)
	}
	if n := d.storedCount(); n != 1 {
		t.Errorf("%d stored, want 1", n)
	}
}

// A full store refuses, keeps all it has, and takes more once there is room.
func TestFullStore(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	broker := testbroker.Start(t).Connect()
	if err := broker.Migrate(t.Context(), stream.Topology{MaxBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	d := open(t, ingress.Config{}, broker, github)
	body := `"` + strings.Repeat("x", 100<<10) + `"`
	stored := uint64(0)
	for {
		resp, problem := d.send(d.request(github, "/webhooks/github", body, nil))
		if resp.StatusCode == http.StatusAccepted && stored < 20 {
			stored++
			continue
		}
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "60" {
			t.Fatalf("status %d, header %v, body %s", resp.StatusCode, resp.Header, problem)
		}
		break
	}
	if n := d.storedCount(); n != stored || d.count("github/default", "store_full") != 1 {
		t.Errorf("%d stored, %d were answered 2xx", n, stored)
	}
	if err := broker.Purge(t.Context(), stream.In(0), "belay.in.>"); err != nil {
		t.Fatal(err)
	}
	if resp, _ := d.send(d.request(github, "/webhooks/github", body, nil)); resp.StatusCode != http.StatusAccepted {
		t.Errorf("with room: status %d", resp.StatusCode)
	}
}

// inFlight is the value of belay_ingress_requests_in_flight.
func (d *door) inFlight() float64 {
	d.tb.Helper()
	return d.gauge("belay_ingress_requests_in_flight")
}

// gauge is the value of a gauge without labels.
func (d *door) gauge(name string) float64 {
	d.tb.Helper()
	families, err := d.registry.Gather()
	if err != nil {
		d.tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return 0
}

// eventually waits for what other processes and goroutines bring about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatal("not in time: ", what)
		case <-tick.C:
		}
	}
}
