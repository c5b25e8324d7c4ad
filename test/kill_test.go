package test

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/pkg/stream"
)

// The guarantee, on the programs themselves: what was answered 2xx is stored
// once, handled and delivered, whoever is killed in between.
func TestNothingAcceptedIsLost(t *testing.T) {
	t.Parallel()
	bin := buildPrograms(t)
	for name, test := range map[string]func(t *testing.T, bin string){
		"each program is killed": eachIsKilled,
		"the worker is stopped":  workerIsStopped,
		"chains are changed":     chainsAreChanged,
		"serve is killed":        serveIsKilled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of their time they wait for a broker's time-outs
			test(t, bin)
		})
	}
}

// cluster is the programs of production beside a broker of their own.
type cluster struct {
	t                             *testing.T
	broker                        string // its URL
	outboxURL                     string
	config                        string // the configuration's path
	nats, ingress, worker, outbox *program
	traffic                       *traffic
}

func startCluster(t *testing.T, bin string) *cluster {
	t.Helper()
	return startGuarded(t, bin, guard{})
}

// A guard is what a broker asks of who comes: a part of its configuration, and for
// each program the environment that it passes with.
type guard struct {
	url    string // of the broker, without its port; "": nats://127.0.0.1
	conf   string
	env    func(program string) []string
	chains string // more of them, at the end of the configuration
}

func startGuarded(t *testing.T, bin string, g guard) *cluster {
	t.Helper()
	dir := t.TempDir()
	brokerAddr, ingressAddr, outboxAddr := freeAddr(t), freeAddr(t), freeAddr(t)
	c := &cluster{t: t, broker: cmp.Or(g.url, "nats://127.0.0.1") + strings.TrimPrefix(brokerAddr, "127.0.0.1"), traffic: newTraffic(t, "http://"+ingressAddr)}
	c.outboxURL = "http://" + outboxAddr

	conf := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("listen: %q\njetstream {\n  store_dir: %q\n  sync_interval: always\n}\n%s", brokerAddr, filepath.Join(dir, "nats"), g.conf)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if g.env == nil {
		g.env = func(string) []string { return nil }
	}
	c.config = c.traffic.writeConfiguration(dir)
	if g.chains != "" {
		appendTo(t, c.config, g.chains)
	}
	c.nats = &program{t: t, name: "nats-server", path: filepath.Join(bin, "nats-server"), args: []string{"-c", conf}}
	env := []string{
		"BELAY_NATS_URL=" + c.broker, "BELAY_CONFIG=" + c.config,
		"BELAY_INGRESS_ADDR=" + ingressAddr, "BELAY_OUTBOX_ADDR=" + outboxAddr, "BELAY_API_KEYS=" + apiKey, "BELAY_CONSOLE_ADDR=127.0.0.1:0",
		"BELAY_ALLOW_HTTP=true", "BELAY_ALLOW_NETWORKS=127.0.0.0/8", "GITHUB_WEBHOOK_SECRET=" + githubSecret,
	}
	role := func(name string) *program {
		p := &program{t: t, name: name, path: filepath.Join(bin, name), ops: freeAddr(t)}
		p.env = slices.Concat([]string{"BELAY_OPS_ADDR=" + p.ops}, env, g.env(name))
		return p
	}
	c.ingress, c.worker, c.outbox = role("ingress"), role("worker"), role("outbox")

	c.nats.run()
	migrate := exec.CommandContext(t.Context(), filepath.Join(bin, "belay"), "migrate", "--shards", "3")
	migrate.Env = slices.Concat(env, g.env("migrate"))
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	for _, p := range []*program{c.worker, c.outbox, c.ingress} {
		p.run()
	}
	for _, p := range []*program{c.worker, c.outbox, c.ingress} {
		p.waitReady()
	}
	c.traffic.subscribe(c.outboxURL)
	return c
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(before, text...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// check holds the outcome to the guarantees.
func (c *cluster) check(sent int, blows string) {
	c.t.Helper()
	broker, err := stream.Connect(stream.Config{URL: c.broker, Name: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.t.Fatal(err)
	}
	defer broker.Close()
	c.traffic.check(broker, sent, blows)
}

func eachIsKilled(t *testing.T, bin string) {
	const webhooks = 800
	c := startCluster(t, bin)
	kill := func(p *program) func() {
		return func() {
			p.kill()
			p.start()
		}
	}
	c.traffic.run(webhooks,
		blow{accepted, kill(c.ingress)}, blow{handled, kill(c.worker)},
		blow{delivered, kill(c.outbox)}, blow{accepted, kill(c.nats)})
	c.check(webhooks, "ingress, worker, outbox and nats-server killed once each")
	// A worker that is killed leaves what it had in hand to be handled again: what is
	// handled, and what has been and waits for its record. So does an outbox, and
	// without a broker it cannot note what it has delivered.
	if handled, delivered := c.traffic.repeated(); handled > 2*concurrency || delivered > 2*deliveries {
		t.Errorf("handled %d and delivered %d times again; want no more than were in hand", handled, delivered)
	}
}

// Who is told to stop finishes what it has in hand: nothing is done twice.
func workerIsStopped(t *testing.T, bin string) {
	const webhooks = 400
	c := startCluster(t, bin)
	restart := blow{handled, func() {
		c.worker.stop()
		c.worker.start()
	}}
	c.traffic.run(webhooks, restart, restart)
	c.check(webhooks, "worker stopped twice")
	if handled, delivered := c.traffic.repeated(); handled != 0 || delivered != 0 {
		t.Errorf("handled %d and delivered %d times again; want none", handled, delivered)
	}
}

// While the chains of a worker are exchanged for others, beside a worker of the old
// ones, what is in hand ends under the old ones: nothing is done twice, and nothing
// is left out. What a removed chain has not handled is reported.
func chainsAreChanged(t *testing.T, bin string) {
	const webhooks = 600
	c := startCluster(t, bin)
	before, err := os.ReadFile(c.config)
	if err != nil {
		t.Fatal(err)
	}
	broker := connect(t, c.broker)
	attended := func(chain string) bool {
		is, err := broker.Attended(t.Context(), chain)
		return err == nil && is
	}
	// change writes a configuration with another chain, and waits until that is run.
	change := func(chain, handlers string) blow {
		return blow{handled, func() {
			text := strings.Replace(string(before), "concurrency: 16", "concurrency: 7", 1) + handlers
			if err := os.WriteFile(c.config, []byte(text), 0o600); err != nil {
				t.Error(err)
			}
			waitFor(t, "the configuration with the chain "+chain+" to be followed", func() bool { return attended(chain) == (handlers != "") })
		}}
	}
	c.traffic.run(webhooks,
		change("stuck", "  - name: stuck\n    start: earliest\n    handlers: [{name: fails, http: {url: 'http://"+freeAddr(t)+"'}}]\n"),
		change("audit", "  - name: audit\n    start: earliest\n    handlers: [{name: log, log: {}}]\n"),
		change("audit", ""))
	c.check(webhooks, "chains changed three times")
	if handled, delivered := c.traffic.repeated(); handled != 0 || delivered != 0 {
		t.Errorf("handled %d and delivered %d times again; want none", handled, delivered)
	}
	for _, chain := range []string{"stuck", "audit"} {
		waitFor(t, "the removed chain "+chain+" to be reported", func() bool {
			return strings.Contains(c.worker.log.String(), `"chain":"`+chain+`","events"`)
		})
	}
}
