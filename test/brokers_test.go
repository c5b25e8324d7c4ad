package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/test/load"
)

// A stream has lost its leader until its other servers have elected another,
// which takes them 4 to 9 s. Senders that wait 10 s need not know. Senders that
// wait 3 s are told to come again, for this shard and until then.
func TestBrokerLosesLeader(t *testing.T) {
	const (
		rate  = 200 // webhooks a second, of each of the two sources
		shard = 1
	)
	b := startBrokers(t, buildPrograms(t))
	for i := range b.servers {
		b.lead(stream.In(i), i)
	}
	patient, hasty := newSending(t, b.ingressAddr, "/webhooks/github", 10*time.Second), newSending(t, b.ingressAddr, "/webhooks/github/hasty", 3*time.Second)
	patient.start(rate, 0)
	hasty.start(rate, 1e6)

	b.passes(2 * time.Second)
	killed := time.Now()
	b.servers[shard].kill()
	b.passes(time.Second)
	b.servers[shard].start()
	b.waitLeader(stream.In(shard))
	elected := time.Now()
	b.passes(5 * time.Second)
	patient.stop()
	hasty.stop()

	t.Logf("a leader was killed; the next was elected after %v", elected.Sub(killed).Round(10*time.Millisecond))
	patient.log("senders that wait 10 s")
	hasty.log("senders that wait 3 s")
	if refused := patient.refused(); len(refused)*1000 > len(patient.answers) {
		t.Errorf("%d of %d patient senders were refused, want 0.1 %% at most", len(refused), len(patient.answers))
	}
	// Who looks for the leader sees it a moment later than the ingress.
	const moment = 500 * time.Millisecond
	for _, a := range hasty.refused() {
		if at := shardOf(a); at != shard || a.Sent.Before(killed.Add(-3*time.Second)) || a.Sent.After(elected.Add(moment)) {
			t.Errorf("%d in shard %d, sent %v after the kill: the leader of shard %d was missed for %v",
				a.Status, at, a.Sent.Sub(killed), shard, elected.Sub(killed))
		}
	}
	count, err := load.Stored(t.Context(), b.url, len(b.servers))
	if err != nil {
		t.Fatal(err)
	}
	patient.check(count)
	hasty.check(count)
}

// shardOf is the shard of a webhook of three.
func shardOf(a load.Answer) int {
	e := event.Event{ID: load.ID(a.Number)}
	return e.Partition() % 3
}

// brokers is a cluster of three NATS servers with an ingress before it.
type brokers struct {
	t           *testing.T
	url         string // of all servers
	servers     []*program
	ingressAddr string
	nc          *nats.Conn
	js          jetstream.JetStream
}

func startBrokers(t *testing.T, bin string) *brokers {
	t.Helper()
	dir := t.TempDir()
	b := &brokers{t: t, ingressAddr: freeAddr(t)}
	var clients, routes []string
	for range 3 {
		clients, routes = append(clients, "nats://"+freeAddr(t)), append(routes, "nats://"+freeAddr(t))
	}
	b.url = strings.Join(clients, ",")
	for i := range 3 {
		name := fmt.Sprintf("n%d", i)
		conf := filepath.Join(dir, name+".conf")
		text := fmt.Sprintf("server_name: %s\nlisten: %q\njetstream { store_dir: %q, sync_interval: always }\ncluster { name: belay, listen: %q, routes: [%s] }\n",
			name, strings.TrimPrefix(clients[i], "nats://"), filepath.Join(dir, name), strings.TrimPrefix(routes[i], "nats://"), strings.Join(routes, ", "))
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		server := &program{t: t, name: name, path: filepath.Join(bin, "nats-server"), args: []string{"-c", conf}}
		b.servers = append(b.servers, server)
		server.run()
	}
	migrate := exec.CommandContext(t.Context(), filepath.Join(bin, "belay"), "migrate", "--nats-url", b.url, "--shards", "3", "--replicas", "3")
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	b.connect()
	b.startIngress(bin, dir)
	return b
}

func (b *brokers) connect() {
	b.t.Helper()
	var err error
	if b.nc, err = nats.Connect(b.url, nats.MaxReconnects(-1)); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(b.nc.Close)
	if b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(300*time.Millisecond)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *brokers) startIngress(bin, dir string) {
	b.t.Helper()
	config := filepath.Join(dir, "belay.yaml")
	if err := os.WriteFile(config, []byte(load.Sources), 0o600); err != nil {
		b.t.Fatal(err)
	}
	ingress := &program{t: b.t, name: "ingress", path: filepath.Join(bin, "ingress"), ops: freeAddr(b.t)}
	ingress.env = []string{
		"BELAY_NATS_URL=" + b.url, "BELAY_CONFIG=" + config, "BELAY_OPS_ADDR=" + ingress.ops,
		"BELAY_INGRESS_ADDR=" + b.ingressAddr, load.Env,
	}
	ingress.run()
	ingress.waitReady()
}

// lead makes a server the leader of a stream
// (https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-37.md).
func (b *brokers) lead(name string, server int) {
	b.t.Helper()
	want := b.servers[server].name
	body, err := json.Marshal(map[string]any{"placement": map[string]any{"preferred": want}})
	if err != nil {
		b.t.Fatal(err)
	}
	waitFor(b.t, want+" to lead "+name, func() bool {
		if b.leader(name) == want {
			return true
		}
		// It is asked once more if it was not taken notice of.
		_, err := b.nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+name, body, time.Second)
		return err == nil && b.leader(name) == want
	})
}

// leader is the server that leads a stream; empty if there is none right now.
func (b *brokers) leader(name string) string {
	s, err := b.js.Stream(b.t.Context(), name)
	if err != nil || s.CachedInfo().Cluster == nil {
		return ""
	}
	return s.CachedInfo().Cluster.Leader
}

// waitLeader waits until a stream whose leader was killed has one: only a leader
// answers for it, which may be the same server, once it is back.
func (b *brokers) waitLeader(name string) {
	b.t.Helper()
	waitFor(b.t, name+" to have a leader", func() bool { return b.leader(name) != "" })
}

func (b *brokers) passes(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.t.Context().Done():
	}
}

// A sending is webhooks at a steady rate to one source: each is sent when it is
// due, whatever became of those before.
type sending struct {
	t       *testing.T
	addr    string
	path    string
	timeout time.Duration
	over    chan struct{}
	group   sync.WaitGroup

	mu      sync.Mutex
	idle    []*load.Sender
	answers []load.Answer
}

func newSending(t *testing.T, addr, path string, timeout time.Duration) *sending {
	return &sending{t: t, addr: addr, path: path, timeout: timeout, over: make(chan struct{})}
}

// start begins. The webhooks are numbered from first+1 on.
func (s *sending) start(rate int, first uint64) {
	s.group.Go(func() {
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		var number atomic.Uint64
		number.Store(first)
		for {
			select {
			case <-s.over:
				return
			case <-ticker.C:
				s.group.Go(func() { s.send(number.Add(1)) })
			}
		}
	})
}

func (s *sending) send(n uint64) {
	sender := s.take()
	a := sender.Send(s.t.Context(), n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = append(s.idle, sender)
	s.answers = append(s.answers, a)
}

func (s *sending) take() *load.Sender {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := len(s.idle) - 1; last >= 0 {
		sender := s.idle[last]
		s.idle = s.idle[:last]
		return sender
	}
	sender, err := load.NewSender(s.addr, s.path, s.timeout)
	if err != nil {
		s.t.Error(err)
	}
	return sender
}

// stop ends it and waits for the last answer.
func (s *sending) stop() {
	close(s.over)
	s.group.Wait()
	for _, sender := range s.idle {
		sender.Close()
	}
}

// refused are the answers that were not 2xx. None at all is one too.
func (s *sending) refused() []load.Answer {
	var refused []load.Answer
	for _, a := range s.answers {
		if !a.Accepted() {
			refused = append(refused, a)
		}
	}
	return refused
}

func (s *sending) log(who string) {
	var longest time.Duration
	statuses, duplicates := map[int]int{}, 0
	for _, a := range s.answers {
		longest = max(longest, a.Took)
		statuses[a.Status]++
		if a.Duplicate {
			duplicates++
		}
	}
	s.t.Logf("%s: %d webhooks, answers by status %v, %d called a duplicate, longest answer %v",
		who, len(s.answers), statuses, duplicates, longest.Round(time.Millisecond))
}

// check wants what was accepted to be stored once, and nothing twice.
func (s *sending) check(count map[uint64]int) {
	s.t.Helper()
	for _, a := range s.answers {
		if n := count[a.Number]; n > 1 || n == 0 && a.Accepted() {
			s.t.Errorf("%s was answered %d and is stored %d times", load.ID(a.Number), a.Status, n)
		}
	}
}
