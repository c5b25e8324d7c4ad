package test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// An ordered chain in three workers that are killed, stopped for longer than their
// lease (SIGSTOP) and started again, seen from the address that it forwards to: no
// request for an event may come once one has come for a later event of its key.
func TestOrderOutlivesItsOwners(t *testing.T) {
	t.Parallel()
	const keys, workers = 30, 3
	bin, dir := buildPrograms(t), t.TempDir()
	seen := &orderSeen{t: t, keys: keys, came: map[int]int{}, last: map[int]int{}}
	target := httptest.NewServer(seen)
	t.Cleanup(target.Close)
	addr := freeAddr(t)
	url := "nats://" + addr
	config, conf := filepath.Join(dir, "belay.yaml"), filepath.Join(dir, "nats.conf")
	for path, text := range map[string]string{
		conf: fmt.Sprintf("listen: %q\njetstream { store_dir: %q }\n", addr, filepath.Join(dir, "nats")),
		config: "chains:\n- name: strict\n  ordered: true\n  start: earliest\n  retry: {first: 100ms, max: 1s}\n  handlers:\n  - name: h\n    http: {url: " +
			target.URL + "}\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	(&program{t: t, name: "nats-server", path: filepath.Join(bin, "nats-server"), args: []string{"-c", conf}}).run()
	migrate := exec.CommandContext(t.Context(), filepath.Join(bin, "belay"), "migrate", "--nats-url", url, "--shards", strconv.Itoa(workers))
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	var pods []*program
	for i := range workers {
		p := &program{t: t, name: "worker " + strconv.Itoa(i), path: filepath.Join(bin, "worker"), ops: freeAddr(t)}
		p.env = []string{"BELAY_OPS_ADDR=" + p.ops, "BELAY_NATS_URL=" + url, "BELAY_CONFIG=" + config}
		p.run()
		pods = append(pods, p)
	}
	for _, p := range pods {
		p.waitReady()
	}
	over := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() { seen.publish(url, over) })

	seen.passes(3 * time.Second)
	pods[0].kill()
	pods[0].start()
	seen.passes(2 * time.Second)
	if err := pods[1].cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	seen.stops()
	seen.passes(20 * time.Second) // a lease is 15 s
	pods[2].kill()
	if err := pods[1].cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	pods[2].start()
	seen.passes(3 * time.Second)
	pods[0].stop()
	pods[0].start()
	seen.passes(3 * time.Second)

	close(over)
	publishing.Wait()
	waitFor(t, "all events to be handled", func() bool { return seen.missing() == 0 })
	t.Logf("%d events of %d keys, 2 workers killed, 1 stopped for 20 s, 1 told to end: %d requests, %d of them after one that had succeeded",
		seen.sent, keys, seen.requests, seen.repeated)
	if inHand := 3 * keys; seen.repeated > inHand {
		t.Errorf("%d events were handled again, want at most the %d that were in hand", seen.repeated, inHand)
	}
}

// orderSeen is where the chain forwards to.
type orderSeen struct {
	t    *testing.T
	keys int

	mu       sync.Mutex
	sent     int
	requests int
	repeated int
	came     map[int]int // how often each event succeeded
	last     map[int]int // the latest event of a key
	stopped  map[int]int // that, when a worker was stopped
}

// stops takes down where the keys are when a worker is stopped. It may have begun with
// an event of each of its keys, and its request can leave when it goes on: nobody can
// keep that back (docs/ordering.md).
func (s *orderSeen) stops() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = maps.Clone(s.last)
}

// late tells whether an event is the one of its key that a stopped worker may have
// begun with: the one that had come last, or the next. It is excused once.
func (s *orderSeen) late(n, key int) bool {
	at, ok := s.stopped[key]
	delete(s.stopped, key)
	return ok && (n == at || n == at+s.keys)
}

// ServeHTTP refuses the first request of some events.
func (s *orderSeen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.Header.Get("Belay-Event-Id"))
	if err != nil {
		s.t.Errorf("a request for event %q", r.Header.Get("Belay-Event-Id"))
		return
	}
	s.mu.Lock()
	s.requests++
	key, tried := n%s.keys, s.came[n] != 0
	if n < s.last[key] && !s.late(n, key) {
		s.t.Errorf("event %d of key %d after event %d", n, key, s.last[key])
	}
	s.last[key] = max(s.last[key], n)
	if n%17 == 0 && !tried {
		s.came[n] = -1
		s.mu.Unlock()
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	s.mu.Unlock()
	select { // so that whoever is killed has some in hand
	case <-r.Context().Done():
	case <-time.After(20 * time.Millisecond):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.came[n] > 0 {
		s.repeated++
	}
	s.came[n] = max(s.came[n], 0) + 1
}

func (s *orderSeen) publish(url string, over <-chan struct{}) {
	b := connect(s.t, url)
	for n := 0; ; n++ {
		select {
		case <-over:
			return
		case <-time.After(2 * time.Millisecond):
		}
		e := &event.Event{
			ID: strconv.Itoa(n), Key: strconv.Itoa(n % s.keys), Type: "github.push", Source: "/github/default",
			Receiver: "github", SourceID: "default", Time: time.Now(), Body: []byte("{}"),
		}
		if err := stream.WaitOut(s.t.Context(), func() error { _, err := b.StoreEvent(s.t.Context(), e); return err }); err != nil {
			s.t.Error(err)
			return
		}
		s.mu.Lock()
		s.sent = n + 1
		s.mu.Unlock()
	}
}

func (s *orderSeen) missing() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := s.sent
	for _, times := range s.came {
		if times > 0 {
			missing--
		}
	}
	return missing
}

func (s *orderSeen) passes(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.t.Context().Done():
	}
}
