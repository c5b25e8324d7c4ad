package ingress_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belay-hooks/belay/ingress"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
)

// A flood of the largest bodies, each of which would be accepted alone, from more
// connections than there is room for: the memory stays under its ceiling, what
// is answered 2xx is stored, and what is not is asked to come again.
func TestFlood(t *testing.T) {
	const (
		connections = 16
		room        = 64 << 20
		limit       = 256 << 20 // of the process: the broker and the senders are in it
		ceiling     = 320 << 20 // the runtime's limit is a soft one
	)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	d := open(t, ingress.Config{MaxBytes: room}, testbroker.New(t), github)
	body := []byte(`"` + strings.Repeat("x", 25<<20-2) + `"`)
	signed := d.request(github, "/webhooks/github", string(body), nil)

	peak := watchHeap(t)
	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		statuses = map[int]int{}
		accepted []string
	)
	send := func(name string, change func(*http.Request)) {
		r := signed.Clone(context.Background())
		r.Header.Set("X-GitHub-Event", name)
		r.Header.Set("X-GitHub-Delivery", name)
		r.Body = io.NopCloser(bytes.NewReader(body))
		change(r)
		resp, err := d.client.Do(r)
		status, retry := 0, "" // refused while it was still sending, and cut off
		if err == nil {
			_ = resp.Body.Close()
			status, retry = resp.StatusCode, resp.Header.Get("Retry-After")
		}
		mu.Lock()
		defer mu.Unlock()
		statuses[status]++
		switch {
		case status == http.StatusAccepted:
			accepted = append(accepted, name)
		case err == nil && (status != http.StatusServiceUnavailable || retry == ""):
			t.Errorf("%s: status %d, Retry-After %q", name, status, retry)
		}
	}
	for i := range connections {
		wg.Go(func() {
			for j := range 2 {
				if i%3 == 0 {
					send(fmt.Sprintf("flood%d-%d", i, j), chunked)
				} else {
					send(fmt.Sprintf("flood%d-%d", i, j), func(*http.Request) {})
				}
			}
		})
	}
	wg.Wait()
	most := peak()
	t.Logf("heap %d MiB at most, answers %v", most>>20, statuses)
	if most > ceiling {
		t.Errorf("the heap grew to %d bytes, want at most %d", most, ceiling)
	}
	if len(accepted) == 0 || d.count("github/default", "overloaded") == 0 {
		t.Errorf("answers %v: want some that are accepted and some for which there is no room", statuses)
	}
	for _, name := range accepted {
		m, err := d.broker.Last(t.Context(), stream.In(0), "belay.in.*.github.default."+name)
		if err != nil {
			t.Fatalf("%s was answered 2xx: %v", name, err)
		}
		if e, err := d.broker.ReadEvent(t.Context(), m); err != nil || !bytes.Equal(e.Body, body) {
			t.Fatalf("%s was answered 2xx, and is not whole: %v", name, err)
		}
	}
	if n := d.gauge("belay_ingress_bytes_in_flight"); n != 0 {
		t.Errorf("%v bytes are still taken", n)
	}
	if resp, _ := d.send(d.request(github, "/webhooks/github", issueOpened, nil)); resp.StatusCode != http.StatusAccepted {
		t.Errorf("after the flood: status %d", resp.StatusCode)
	}
}

// One request after another uses the memory of a body: each event has its own all the
// same, whatever comes of the requests beside it.
func TestEachEventHasTheBodyOfItsRequest(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	d := open(t, ingress.Config{}, testbroker.New(t), github)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		sent = map[string]string{} // what was answered 2xx, by its name
	)
	for i := range 32 {
		wg.Go(func() {
			for j := range 20 {
				name := fmt.Sprintf("n%d-%d", i, j)
				body := `"` + strings.Repeat(name, 1+rand.N(30_000)/len(name)) + `"`
				r := d.request(github, "/webhooks/github", body, map[string]string{"X-GitHub-Event": name, "X-GitHub-Delivery": name})
				switch j % 4 {
				case 1:
					chunked(r)
				case 2:
					r.Header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
				}
				resp, err := d.client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusAccepted {
					mu.Lock()
					sent[name] = body
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if want := 32 * 15; len(sent) != want {
		t.Errorf("%d were accepted, want %d", len(sent), want)
	}
	for name, body := range sent {
		m, err := d.broker.Last(t.Context(), stream.In(0), "belay.in.*.github.default."+name)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := d.broker.ReadEvent(t.Context(), m); err != nil || string(e.Body) != body {
			t.Errorf("%s: the body stored is not the one sent (%v)", name, err)
		}
	}
}

// watchHeap returns how to learn the most that the heap had since then.
func watchHeap(t *testing.T) (peak func() uint64) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	ctx, cancel := context.WithCancel(t.Context())
	most := make(chan uint64)
	go func() {
		var highest uint64
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			metrics.Read(sample)
			highest = max(highest, sample[0].Value.Uint64())
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
		most <- highest
	}()
	return func() uint64 { cancel(); return <-most }
}

// Who claims a large body takes room as it comes, not as it is claimed.
func TestClaimsTakeNoRoom(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	d := open(t, ingress.Config{MaxBytes: 64 << 20}, testbroker.New(t), github)
	for range 100 {
		conn, err := net.Dial("tcp", d.server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", 25<<20)
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are in hand", func() bool { return d.inFlight() == 100 })
	if n := d.gauge("belay_ingress_bytes_in_flight"); n > 100*(80<<10) {
		t.Errorf("100 bodies of one byte each take %v bytes", n)
	}
	if resp, _ := d.send(d.request(github, "/webhooks/github", issueOpened, nil)); resp.StatusCode != http.StatusAccepted {
		t.Errorf("an honest sender beside them: status %d", resp.StatusCode)
	}
}

// While large bodies have all the room that large ones may have, small ones of
// others are accepted.
func TestSmallBesideLarge(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	d := open(t, ingress.Config{MaxBytes: 8 << 20}, testbroker.New(t), github)
	conn, err := net.Dial("tcp", d.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		4_000_000, strings.Repeat("x", 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has its room", func() bool { return d.gauge("belay_ingress_bytes_in_flight") > 4_000_000 })
	large := d.request(github, "/webhooks/github", `"`+strings.Repeat("x", 3<<20)+`"`, nil)
	if resp, _ := d.send(large); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("another large one: status %d", resp.StatusCode)
	}
	small := d.request(github, "/webhooks/github", `"`+strings.Repeat("x", 60<<10)+`"`, nil)
	if resp, _ := d.send(small); resp.StatusCode != http.StatusAccepted {
		t.Errorf("a small one: status %d", resp.StatusCode)
	}
}

func TestRequestsInFlight(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	d := open(t, ingress.Config{MaxRequests: 1}, testbroker.New(t), github)
	conn, err := net.Dial("tcp", d.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is in hand", func() bool { return d.inFlight() == 1 })
	resp, _ := d.send(d.request(github, "/webhooks/github", issueOpened, nil))
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "5" {
		t.Errorf("a second request: status %d, header %v", resp.StatusCode, resp.Header)
	}
	if n := d.count("github/default", "overloaded"); n != 1 {
		t.Errorf("%v counted, want 1", n)
	}
	if _, err := io.WriteString(conn, "}"); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the first request: %v, %v", resp, err)
	}
	eventually(t, "there is room again", func() bool {
		resp, _ := d.send(d.request(github, "/webhooks/github", issueOpened, nil))
		return resp.StatusCode == http.StatusAccepted
	})
}

// A connection too many is closed, and closing one makes room.
func TestConnections(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	d := open(t, ingress.Config{MaxRequests: 2}, testbroker.New(t), github)
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", d.server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	idle := make([]net.Conn, 4)
	for i := range idle {
		idle[i] = dial()
	}
	eventually(t, "four are open", func() bool { return d.gauge("belay_ingress_connections") == 4 })
	if n, err := dial().Read(make([]byte, 1)); err == nil {
		t.Errorf("the fifth connection is served: %d bytes", n)
	}
	_ = idle[0].Close()
	eventually(t, "there is room again", func() bool { return d.gauge("belay_ingress_connections") == 3 })
	if resp, _ := d.send(d.request(github, "/webhooks/github", issueOpened, nil)); resp.StatusCode != http.StatusAccepted {
		t.Errorf("with room: status %d", resp.StatusCode)
	}
}

// A body that would not fit with nobody else there is too large, and not asked
// to come again; whoever runs the door is told at once.
func TestRoomBelowTheSourcesLimit(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	d := open(t, ingress.Config{MaxBytes: 4 << 20}, testbroker.New(t), github)
	if !strings.Contains(d.log.String(), "there is no room for them") {
		t.Error("the log does not warn")
	}
	for name, test := range map[string]struct {
		size   int
		change func(*http.Request)
		status int
	}{
		"fits":               {1 << 20, func(*http.Request) {}, 202},
		"fits, chunked":      {2<<20 - 16<<10, chunked, 202},
		"too large":          {3 << 20, func(*http.Request) {}, 413},
		"too large, chunked": {3 << 20, chunked, 413},
	} {
		t.Run(name, func(t *testing.T) {
			r := d.request(github, "/webhooks/github", `"`+strings.Repeat("x", test.size-2)+`"`, nil)
			test.change(r)
			if resp, _ := d.send(r); resp.StatusCode != test.status {
				t.Errorf("status %d, want %d", resp.StatusCode, test.status)
			}
		})
	}
}
