package test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/belay-hooks/belay/ingress"
	"github.com/belay-hooks/belay/internal/localnats"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

// BenchmarkAnswer measures what it takes to be answered by a chain beside being
// answered by ingress, from the sender's side, in turns; and how long it is from
// the request to the beginning of the handler. Ingress and worker have connections
// of their own, over TCP. flushed: stored as in belay serve, one flush for all that
// wait; relaxed: without.
//
//	go test ./test -run '^$' -bench Answer -benchtime 4000x -count 5
func BenchmarkAnswer(b *testing.B) {
	for _, durability := range []string{"flushed", "relaxed"} {
		for _, senders := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/senders=%d", durability, senders), func(b *testing.B) {
				newAnswering(b, durability == "flushed").run(senders)
			})
		}
	}
}

// answering is an ingress, a worker, and what was measured of them.
type answering struct {
	b             *testing.B
	url           string
	plain, waited *receiver.Source
	client        *http.Client

	tookPlain, tookWaited, toHandler samples
}

func newAnswering(b *testing.B, flush bool) *answering {
	b.Helper()
	a := &answering{b: b}
	log := slog.New(slog.DiscardHandler)
	server, err := localnats.Start(b.Context(), localnats.Config{Dir: b.TempDir(), Host: "127.0.0.1", Port: -1, Logger: log})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Stop)
	connect := func(name string) *stream.Broker {
		c := stream.Config{URL: server.ClientURL(), Name: name, Logger: log}
		if flush {
			c.Flush = server.Flush
		}
		broker, err := stream.Connect(c)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(broker.Close)
		if err := broker.Migrate(b.Context(), stream.Topology{}); err != nil {
			b.Fatal(err)
		}
		return broker
	}
	source := func(id, chain string) *receiver.Source {
		s, err := receiver.NewSource(receiver.SourceConfig{
			Receiver: "slack-interactive", ID: id, Secrets: []receiver.Secret{inline("slack-signing-secret")}, Wait: receiver.Wait{Chain: chain},
		})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	a.plain, a.waited = source("plain", ""), source("waited", "slash")
	in, err := ingress.New(ingress.Config{Addr: "127.0.0.1:0"}, []*receiver.Source{a.plain, a.waited}, connect("ingress"), log, prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	w, err := worker.New(b.Context(), worker.Config{Broker: connect("worker"), Logger: log}, handler.Chain{
		Name: "slash", Steps: []handler.Step{{Name: "answer", Handler: handler.HandlerFunc(a.handle)}},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{in.Run, w.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				b.Error(err)
			}
		})
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	b.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		running.Wait()
	})
	a.client = &http.Client{Transport: transport, Timeout: patience}
	a.url = "http://" + in.Addr().String() + "/webhooks/"
	return a
}

func (a *answering) handle(_ context.Context, e *event.Event) (*handler.Response, error) {
	a.toHandler.add(time.Since(e.Time))
	return &handler.Response{Body: []byte(`{"text":"hello"}`)}, nil
}

func (a *answering) run(senders int) {
	a.send(a.waited, &samples{}) // the first one subscribes to answers
	a.b.ResetTimer()
	var sending sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			for n := i; n < a.b.N; n += senders {
				if n%2 == 0 {
					a.send(a.plain, &a.tookPlain)
				} else {
					a.send(a.waited, &a.tookWaited)
				}
			}
		})
	}
	sending.Wait()
	a.b.StopTimer()
	for name, share := range map[string]float64{"p50": .5, "p99": .99} {
		plain, waited := a.tookPlain.at(share), a.tookWaited.at(share)
		a.b.ReportMetric(plain, name+"-plain-µs")
		a.b.ReportMetric(waited, name+"-waited-µs")
		a.b.ReportMetric(waited/plain, name+"-ratio")
		a.b.ReportMetric(a.toHandler.at(share), name+"-handler-µs")
	}
}

func (a *answering) send(source *receiver.Source, took *samples) {
	const body = "command=%2Fhello&text=world&user_name=ann"
	r, err := http.NewRequestWithContext(a.b.Context(), http.MethodPost, a.url+source.Name(), strings.NewReader(body))
	if err != nil {
		a.b.Error(err)
		return
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if _, err := source.Sign(r, []byte(body), time.Now()); err != nil {
		a.b.Error(err)
		return
	}
	began := time.Now()
	resp, err := a.client.Do(r)
	if err != nil {
		a.b.Error(err)
		return
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || (source == a.waited) != (len(got) > 0) {
		a.b.Errorf("%d %s %v", resp.StatusCode, got, err)
	}
	took.add(time.Since(began))
}

// samples are times.
type samples struct {
	mu  sync.Mutex
	all []time.Duration
}

func (s *samples) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

// at is the time, in microseconds, that this share of the samples is not above.
func (s *samples) at(share float64) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return 0
	}
	slices.Sort(s.all)
	return float64(s.all[min(int(share*float64(len(s.all))), len(s.all)-1)].Microseconds())
}
