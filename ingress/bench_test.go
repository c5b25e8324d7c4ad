package ingress_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-hooks/belay/ingress"
	"github.com/belay-hooks/belay/internal/ceiling"
	"github.com/belay-hooks/belay/internal/localnats"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
)

// Ingress is the whole path: HTTP, verification, event, store, answer, log and
// metrics. The others are the ceilings that it is compared with: what a handler
// without all that would reach on this machine. They share one payload of 4 KiB,
// 64 connections, and a client that costs next to nothing, so that the ratios
// of their req/s can be read off one run:
//
//	go test ./ingress -run '^$' -bench . -benchtime 3s -count 5
//
// relaxed: the broker confirms what the operating system has taken. flushed: the
// answers of a moment wait for one flush of the disk, as in belay serve. always:
// the broker flushes each message, as in a cluster.

const clients = 64 // connections, or publishing goroutines

type durability struct {
	name    string
	always  bool
	flushed bool
}

// broker is a broker of its own with Belay's streams.
func (d durability) broker(b *testing.B) (*stream.Broker, string) {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	server, err := localnats.Start(b.Context(), localnats.Config{
		Dir: b.TempDir(), SyncAlways: d.always, Host: "127.0.0.1", Port: -1, Logger: log,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Stop)
	conf := stream.Config{URL: server.ClientURL(), Name: "bench", Logger: log}
	if d.flushed {
		conf.Flush = server.Flush
	}
	broker, err := stream.Connect(conf)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(broker.Close)
	if err := broker.Migrate(b.Context(), stream.Topology{}); err != nil {
		b.Fatal(err)
	}
	return broker, server.ClientURL()
}

var (
	relaxed = durability{name: "relaxed"}
	flushed = durability{name: "flushed", flushed: true}
	always  = durability{name: "always", always: true}
)

func each(b *testing.B, all []durability, f func(*testing.B, durability)) {
	for _, d := range all {
		b.Run(d.name, func(b *testing.B) { f(b, d) })
	}
}

func BenchmarkBareHTTP(b *testing.B) {
	serve(b, ceiling.HTTP())
}

func BenchmarkBareHTTPWithHMAC(b *testing.B) {
	serve(b, ceiling.HTTPWithHMAC([]byte(theSecret)))
}

func BenchmarkBareHTTPWithHMACAndPublish(b *testing.B) {
	each(b, []durability{relaxed, always}, func(b *testing.B, d durability) {
		_, url := d.broker(b)
		serve(b, ceiling.HTTPWithHMACAndPublish([]byte(theSecret), connect(b, url), pushEvent(b).Subject()))
	})
}

func BenchmarkIngress(b *testing.B) {
	each(b, []durability{relaxed, flushed, always}, func(b *testing.B, d durability) {
		broker, _ := d.broker(b)
		door := open(b, ingress.Config{}, broker, source(b, receiver.SourceConfig{Receiver: "github"}))
		door.log.off()
		post(b, door.server.Addr())
	})
}

func BenchmarkBarePublish(b *testing.B) {
	each(b, []durability{relaxed, always}, func(b *testing.B, d durability) {
		_, url := d.broker(b)
		publisher, e := connect(b, url), pushEvent(b)
		header, data := e.Encode()
		subject := e.Subject()
		parallel(b, func(pb *testing.PB, number func() int64) error {
			for pb.Next() {
				id := "bench-" + strconv.FormatInt(number(), 10)
				if err := publisher.Publish(b.Context(), subject, id, header, data); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func connect(b *testing.B, url string) *ceiling.Publisher {
	b.Helper()
	p, err := ceiling.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.Close)
	return p
}

// serve runs the handler and posts to it.
func serve(b *testing.B, h http.Handler) {
	b.Helper()
	server := httptest.NewServer(h)
	b.Cleanup(server.Close)
	post(b, server.Listener.Addr())
}

// parallel runs the benchmark with as many goroutines as there are clients.
func parallel(b *testing.B, body func(pb *testing.PB, number func() int64) error) {
	b.Helper()
	var n atomic.Int64
	b.SetParallelism(max(clients/runtime.GOMAXPROCS(0), 1))
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		if err := body(pb, func() int64 { return n.Add(1) }); err != nil {
			b.Error(err)
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

// pushBody is a genuine push without the URLs of its repository: 4 KiB, as much
// as most webhooks are.
func pushBody(b *testing.B) []byte {
	b.Helper()
	text, err := os.ReadFile("../pkg/receiver/testdata/github/push.json")
	if err != nil {
		b.Fatal(err)
	}
	var payload map[string]any
	if err := json.Unmarshal(text, &payload); err != nil {
		b.Fatal(err)
	}
	repository, _ := payload["repository"].(map[string]any)
	for name := range repository {
		if strings.HasSuffix(name, "_url") {
			delete(repository, name)
		}
	}
	body, err := json.MarshalIndent(payload, "", " ")
	if err != nil {
		b.Fatal(err)
	}
	return body
}

func pushEvent(b *testing.B) *event.Event {
	return &event.Event{
		ID: "bench", Source: "/github/default", Type: "github.push", Time: time.Now(), ContentType: "application/json",
		Receiver: "github", SourceID: "default", Key: "Codertocat/Hello-World", Body: pushBody(b),
	}
}

// post has every client send the signed payload over its own connection, each
// time with another delivery id.
func post(b *testing.B, addr net.Addr) { postFor(b, addr, http.StatusAccepted) }

// postFor is post where another status is wanted.
func postFor(b *testing.B, addr net.Addr, status int) {
	b.Helper()
	request := pushRequest(b, addr)
	parallel(b, func(pb *testing.PB, number func() int64) error {
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		request, answers := bytes.Clone(request), bufio.NewReader(conn)
		id := request[bytes.Index(request, []byte(idPlace)):][:len(idPlace)]
		for pb.Next() {
			copy(id, fmt.Sprintf("%0*d", len(idPlace), number()))
			if _, err := conn.Write(request); err != nil {
				return err
			}
			if err := readAnswer(answers, status); err != nil {
				return err
			}
		}
		return nil
	})
}

const idPlace = "################"

// pushRequest is the whole request as bytes. The signature is of the body, which
// stays the same, so only the delivery id has to be written for each.
func pushRequest(b *testing.B, addr net.Addr) []byte {
	b.Helper()
	body := pushBody(b)
	r, err := http.NewRequest(http.MethodPost, "http://"+addr.String()+"/webhooks/github", bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/044aadd",
		"X-GitHub-Event": "push", "X-GitHub-Delivery": idPlace,
	} {
		r.Header.Set(name, value)
	}
	if _, err := source(b, receiver.SourceConfig{Receiver: "github"}).Sign(r, body, time.Now()); err != nil {
		b.Fatal(err)
	}
	request, err := httputil.DumpRequestOut(r, true)
	if err != nil {
		b.Fatal(err)
	}
	return request
}

// readAnswer reads one answer, whose body has a length.
func readAnswer(r *bufio.Reader, want int) error {
	status, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(status, "HTTP/1.1 "+strconv.Itoa(want)+" ") {
		rest, _ := io.ReadAll(io.LimitReader(r, int64(r.Buffered())))
		return fmt.Errorf("answered %s%s", status, rest)
	}
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == len("\r\n") {
			_, err := r.Discard(length)
			return err
		}
		if text, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(text))); err != nil {
				return err
			}
		}
	}
}
