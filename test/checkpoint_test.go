package test

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

const checkpointConfiguration = `chains:
  - name: plain
    start: earliest
    concurrency: %[1]d
    handlers:
      - {order: 1, name: a, http: {url: "%[2]s/plain/a"}}
      - {order: 2, name: b, http: {url: "%[2]s/plain/b"}}
      - {order: 3, name: c, http: {url: "%[2]s/plain/c"}}
  - name: checked
    start: earliest
    concurrency: %[1]d
    checkpoint: always
    handlers:
      - {order: 1, name: a, http: {url: "%[2]s/checked/a"}}
      - {order: 2, name: b, http: {url: "%[2]s/checked/b"}}
      - {order: 3, name: c, http: {url: "%[2]s/checked/c"}}
`

// sideEffects counts what handlers did: how often each was run for each event. It
// can keep all runs of one of them from ending.
type sideEffects struct {
	mu      sync.Mutex
	counts  map[string]map[string]int // by chain/handler, by event
	hold    string                    // the handler, a, b or c
	release chan struct{}
	held    int
}

func (s *sideEffects) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	s.mu.Lock()
	if s.counts[path] == nil {
		s.counts[path] = map[string]int{}
	}
	s.counts[path][r.Header.Get("Belay-Event-Id")]++
	if s.hold == "" || !strings.HasSuffix(path, "/"+s.hold) {
		s.mu.Unlock()
		return
	}
	s.held++
	release := s.release
	s.mu.Unlock()
	<-release
}

func (s *sideEffects) holdBack(handler string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold, s.held, s.release = handler, 0, make(chan struct{})
}

func (s *sideEffects) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = ""
	close(s.release)
}

func (s *sideEffects) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// events is how many events a handler has seen.
func (s *sideEffects) events(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.counts[path])
}

// repeated counts the runs beyond the first, by handler.
func (s *sideEffects) repeated() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]int{}
	for path, events := range s.counts {
		for _, n := range events {
			all[path] += n - 1
		}
	}
	return all
}

// A worker is killed while all that it has in hand is in the second handler, and once
// more in the third. A chain without checkpoints repeats what those events have
// behind them; one with checkpoint: always repeats the handlers that were running.
func TestCheckpointsKeepFinishedHandlersFromBeingRepeated(t *testing.T) {
	t.Parallel()
	const events, inHand = 60, 8
	dir, bin := t.TempDir(), buildPrograms(t)
	effects := &sideEffects{counts: map[string]map[string]int{}}
	backend := httptest.NewServer(effects)
	t.Cleanup(backend.Close)
	file, conf, addr := filepath.Join(dir, "belay.yaml"), filepath.Join(dir, "nats.conf"), freeAddr(t)
	for path, text := range map[string]string{
		file: fmt.Sprintf(checkpointConfiguration, inHand, backend.URL),
		conf: fmt.Sprintf("listen: %q\njetstream {\n  store_dir: %q\n  sync_interval: always\n}\n", addr, filepath.Join(dir, "nats")),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nats := &program{t: t, name: "nats-server", path: filepath.Join(bin, "nats-server"), args: []string{"-c", conf}}
	nats.run()
	env := []string{"BELAY_NATS_URL=nats://" + addr, "BELAY_CONFIG=" + file}
	migrate := exec.CommandContext(t.Context(), filepath.Join(bin, "belay"), "migrate", "--shards", "1")
	migrate.Env = env
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	worker := &program{t: t, name: "worker", path: filepath.Join(bin, "worker"), ops: freeAddr(t)}
	worker.env = append(env, "BELAY_OPS_ADDR="+worker.ops)

	effects.holdBack("b")
	worker.run()
	worker.waitReady()
	store(t, "nats://"+addr, events)
	for _, next := range []string{"c", ""} {
		waitFor(t, "all that is in hand to be in one handler", func() bool { return effects.waiting() == 2*inHand })
		worker.kill()
		effects.letGo()
		if next != "" {
			effects.holdBack(next)
		}
		worker.start()
	}
	waitFor(t, "all events to be handled", func() bool {
		return effects.events("plain/c") == events && effects.events("checked/c") == events
	})
	worker.stop()
	want := map[string]int{
		"plain/a": 2 * inHand, "plain/b": 2 * inHand, "plain/c": inHand,
		"checked/a": 0, "checked/b": inHand, "checked/c": inHand,
	}
	if got := effects.repeated(); !maps.Equal(got, want) {
		t.Errorf("repeated %v, want %v", got, want)
	}
	t.Logf("%d events, %d kills with %d events of each chain in hand, repeated: %v", events, worker.killed, inHand, effects.repeated())
}

// store puts events into the log, as an ingress does.
func store(t *testing.T, url string, n int) {
	t.Helper()
	b, err := stream.Connect(stream.Config{URL: url, Name: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		e := &event.Event{
			ID: fmt.Sprintf("e%d", i), Source: "/github/default", Receiver: "github", SourceID: "default",
			Type: "github.push", Time: time.Now(), ContentType: "application/json", Body: []byte("{}"),
		}
		header, data := e.Encode()
		if _, err := b.Publish(t.Context(), stream.Message{Subject: e.Subject(), Header: header, Data: data, ID: e.MsgID()}); err != nil {
			t.Fatal(err)
		}
	}
}
