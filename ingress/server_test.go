package ingress_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/belay-hooks/belay/ingress"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
)

// secret is a secret that does not change.
type secret string

func (s secret) Value() (string, error) { return string(s), nil }

// lost is a secret that cannot be read.
type lost struct{}

func (lost) Value() (string, error) { return "", errors.New("no such file") }

const theSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func source(tb testing.TB, c receiver.SourceConfig) *receiver.Source {
	tb.Helper()
	if c.Secrets == nil {
		c.Secrets = []receiver.Secret{secret(theSecret)}
	}
	s, err := receiver.NewSource(c)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// A door is a running ingress before a real broker.
type door struct {
	tb       testing.TB
	url      string
	broker   *stream.Broker
	server   *ingress.Server
	registry *prometheus.Registry
	log      *safeBuffer
	client   *http.Client
	stop     context.CancelFunc
	stopped  <-chan error
}

func open(tb testing.TB, c ingress.Config, publisher ingress.Store, sources ...*receiver.Source) *door {
	tb.Helper()
	d := &door{tb: tb, registry: prometheus.NewRegistry(), log: &safeBuffer{}}
	if broker, ok := publisher.(*stream.Broker); ok {
		d.broker = broker
	}
	c.Addr = "127.0.0.1:0"
	var err error
	d.server, err = ingress.New(c, sources, publisher, slog.New(slog.NewJSONHandler(d.log, nil)), d.registry)
	if err != nil {
		tb.Fatal(err)
	}
	var ctx context.Context
	ctx, d.stop = context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	d.stopped = stopped
	go func() { stopped <- d.server.Run(ctx) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	d.client = &http.Client{Transport: transport}
	d.url = "http://" + d.server.Addr().String()
	tb.Cleanup(func() {
		d.stop()
		transport.CloseIdleConnections()
		_ = d.server.Close()
	})
	return d
}

// request is a request as the provider of the source would send it.
func (d *door) request(s *receiver.Source, path, body string, header map[string]string) *http.Request {
	d.tb.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, d.url+path, strings.NewReader(body))
	if err != nil {
		d.tb.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		r.Header.Set(name, value)
	}
	if _, err := s.Sign(r, []byte(body), time.Now()); err != nil {
		d.tb.Fatal(err)
	}
	return r
}

func (d *door) send(r *http.Request) (*http.Response, string) {
	d.tb.Helper()
	resp, err := d.client.Do(r)
	if err != nil {
		d.tb.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.tb.Fatal(err)
	}
	return resp, string(body)
}

// storedCount is the number of events in the only IN stream of a fresh broker.
func (d *door) storedCount() uint64 {
	d.tb.Helper()
	last, err := d.broker.Last(context.Background(), stream.In(0), "belay.in.>")
	if errors.Is(err, stream.ErrNotFound) {
		return 0
	}
	if err != nil {
		d.tb.Fatal(err)
	}
	return last.Seq
}

// storedEvent is an event of the only IN stream.
func (d *door) storedEvent(seq uint64) (*event.Event, string) {
	d.tb.Helper()
	m, err := d.broker.Get(context.Background(), stream.In(0), seq)
	if err != nil {
		d.tb.Fatal(err)
	}
	e, err := event.Decode(m.Header, m.Data)
	if err != nil {
		d.tb.Fatal(err)
	}
	return e, m.Subject
}

// count is the value of belay_ingress_requests_total.
func (d *door) count(source, outcome string) float64 {
	d.tb.Helper()
	return d.counter("belay_ingress_requests_total", source, "outcome", outcome)
}

// counter is the value of a counter of a source, by its other label.
func (d *door) counter(name, source, label, value string) float64 {
	d.tb.Helper()
	families, err := d.registry.Gather()
	if err != nil {
		d.tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["source"] == source && labels[label] == value {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// safeBuffer is a buffer that the server writes while a test reads.
type safeBuffer struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	discard bool
}

// off forgets what is written from now on.
func (b *safeBuffer) off() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.discard = true
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.discard {
		return len(p), nil
	}
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newDoor(tb testing.TB, sources ...*receiver.Source) *door {
	return open(tb, ingress.Config{}, testbroker.New(tb), sources...)
}
