package ingress_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
)

// The three benchmarks share one payload (a genuine push), one number of
// clients, and what can be had at all: BareHTTP is a handler that reads the body
// and answers 202, BarePublish a loop that stores the finished message. Ingress
// is the whole path: HTTP, verification, event, store, answer, log and metrics.
//
//	go test ./ingress -run '^$' -bench . -benchtime 5s

const clients = 64 // concurrent, as connections or publishing goroutines

// parallel runs the benchmark with clients goroutines.
func parallel(b *testing.B, body func(*testing.PB)) {
	b.Helper()
	b.SetParallelism(max(clients/runtime.GOMAXPROCS(0), 1))
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(body)
}

func pushPayload(b *testing.B) []byte {
	b.Helper()
	data, err := os.ReadFile("../pkg/receiver/testdata/github/push.json")
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// post sends the signed payload, each time with another delivery id.
func post(b *testing.B, client *http.Client, url string, body []byte, pb *testing.PB, n *atomic.Int64) {
	signer := source(b, receiver.SourceConfig{Receiver: "github"})
	r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		b.Error(err)
		return
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", "push")
	if err := signer.Sign(r, body, time.Now()); err != nil {
		b.Error(err)
		return
	}
	for pb.Next() {
		r.Header.Set("X-GitHub-Delivery", "bench-"+strconv.FormatInt(n.Add(1), 10))
		r.Body = io.NopCloser(bytes.NewReader(body))
		resp, err := client.Do(r)
		if err != nil {
			b.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			b.Error(resp.Status)
			return
		}
	}
}

func BenchmarkIngress(b *testing.B) {
	d := newDoor(b, source(b, receiver.SourceConfig{Receiver: "github"}))
	d.log.off()
	body := pushPayload(b)
	var n atomic.Int64
	parallel(b, func(pb *testing.PB) { post(b, d.client, d.url+"/webhooks/github", body, pb, &n) })
}

func BenchmarkBareHTTP(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			b.Error(err)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	body := pushPayload(b)
	var n atomic.Int64
	parallel(b, func(pb *testing.PB) { post(b, client, server.URL, body, pb, &n) })
}

func BenchmarkBarePublish(b *testing.B) {
	broker := testbroker.New(b)
	e := event.Event{
		Source: "/github/default", Type: "github.push", Time: time.Now(), ContentType: "application/json",
		Receiver: "github", SourceID: "default", Key: "Codertocat/Hello-World", Body: pushPayload(b), ID: "bench",
	}
	header, data := e.Encode()
	subject := e.Subject()
	var n atomic.Int64
	parallel(b, func(pb *testing.PB) {
		for pb.Next() {
			m := stream.Message{Subject: subject, Header: header, Data: data, ID: "bench-" + strconv.FormatInt(n.Add(1), 10)}
			if _, err := broker.Publish(b.Context(), m); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
