package ingress_test

import (
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/belay-hooks/belay/ingress"
	"github.com/belay-hooks/belay/pkg/receiver"
)

// One line of the log and one count say why a request did not verify.
func TestRefusalIsDiagnosed(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	eu := source(t, receiver.SourceConfig{Receiver: "github", ID: "eu", Secrets: []receiver.Secret{secret("that of eu")}})
	d := newDoor(t, github, eu)
	send := func(path, body string) {
		t.Helper()
		r := d.request(github, path, issueOpened, nil)
		r.Body, r.ContentLength, r.GetBody = io.NopCloser(strings.NewReader(body)), int64(len(body)), nil
		if resp, _ := d.send(r); resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
	send("/webhooks/github/eu", issueOpened)
	send("/webhooks/github", issueOpened+"\n")
	want := map[string]float64{
		"body_changed signature_wrong github/default": 1,
		"other_source signature_wrong github/eu":      1,
	}
	if got := refusals(t, d.registry); !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
	for _, part := range []string{`"cause":"other_source","found":"the signature is that of the source github/default"`, `"cause":"body_changed","found":"the signature is that of the body without the newline at its end","advice":"`} {
		if !strings.Contains(d.log.String(), part) {
			t.Errorf("the log does not tell %s:\n%s", part, d.log.String())
		}
	}
}

// A flood of rubbish is refused and counted; only a few of it are looked into.
func TestDiagnosesAreRare(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	d := newDoor(t, github)
	began, sent := time.Now(), 0
	for ; sent < 200; sent++ {
		r := d.request(github, "/webhooks/github", issueOpened, nil)
		r.Header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
		if resp, _ := d.send(r); resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
	most := 2 + 2*int(time.Since(began).Seconds()+1)
	if looked := strings.Count(d.log.String(), `"cause":"other_secret"`); looked < 2 || looked > most {
		t.Errorf("%d looked into, want 2 to %d", looked, most)
	}
	n := 0.0
	for _, some := range refusals(t, d.registry) {
		n += some
	}
	if n != float64(sent) {
		t.Errorf("%v counted, want %d", n, sent)
	}
}

// refusals are the counts of belay_ingress_refused_total, by cause, reason and source.
func refusals(tb testing.TB, registry *prometheus.Registry) map[string]float64 {
	tb.Helper()
	families, err := registry.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "belay_ingress_refused_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			counts[strings.Join(labels, " ")] = m.GetCounter().GetValue()
		}
	}
	return counts
}

// BenchmarkRefused is a flood of bad signatures, to be compared with
// BenchmarkIngress, relaxed: refusing costs less than accepting.
func BenchmarkRefused(b *testing.B) {
	broker, _ := relaxed.broker(b)
	door := open(b, ingress.Config{}, broker, source(b, receiver.SourceConfig{Receiver: "github", Secrets: []receiver.Secret{secret("another")}}))
	door.log.off()
	postFor(b, door.server.Addr(), http.StatusUnauthorized)
}
