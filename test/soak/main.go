// Command soak sends a great many webhooks to an ingress and a NATS server that
// are killed at random all the while, and then holds every answer against what
// is stored. Run it in the root of the repository:
//
//	go run ./test/soak -n 1000000
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/service"
	"github.com/belay-hooks/belay/test/load"
)

// shards is how many streams hold what comes in.
const shards = 3

// A soak is one run.
type soak struct {
	webhooks   uint64
	senders    int
	duplicates float64
	every      time.Duration
	within     time.Duration
	dir        string
	sync       string

	server, ingress *process
	url, addr       string
	kills           map[string]int
}

func main() {
	var s soak
	flag.Uint64Var(&s.webhooks, "n", 1_000_000, "how many webhooks must be accepted")
	flag.IntVar(&s.senders, "senders", 64, "how many senders there are; each sends its next webhook when the last one is accepted")
	flag.Float64Var(&s.duplicates, "duplicates", 0.05, "the share that is sent again, some time after it was accepted")
	flag.DurationVar(&s.every, "every", 5*time.Second, "how long, in the middle, until the next one is killed")
	flag.DurationVar(&s.within, "within", 0, "send no longer than this; 0: until all are accepted")
	flag.StringVar(&s.dir, "dir", "", "where the data is kept while it lasts; empty: with the temporary files")
	flag.StringVar(&s.sync, "sync", "2m", "sync_interval of the NATS server: 2m is its default, always is one flush a webhook")
	flag.Parse()
	service.Main("soak", s.run)
}

func (s *soak) run(ctx context.Context) error {
	dir, err := os.MkdirTemp(s.dir, "belay-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := s.setUp(ctx, dir); err != nil {
		return err
	}
	defer s.server.kill()
	defer s.ingress.kill()

	start := time.Now()
	c := newCrowd(s.addr, s.webhooks, s.duplicates)
	sending, stop := context.WithCancel(ctx)
	if s.within > 0 {
		sending, stop = context.WithTimeout(ctx, s.within)
	}
	defer stop()
	killed := make(chan error, 1)
	go func() { killed <- s.killing(sending, c) }()
	err = c.send(sending, s.senders)
	stop()
	if k := <-killed; k != nil {
		return k
	}
	if err != nil || ctx.Err() != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "%s of sending, %d kills of the ingress and %d of the NATS server (sync_interval %s), %d ends of their own\n%s",
		time.Since(start).Round(time.Second), s.kills["ingress"], s.kills["nats-server"], s.sync, s.ingress.ends+s.server.ends, c)
	return s.check(ctx, c)
}

// setUp builds the programs and starts them.
func (s *soak) setUp(ctx context.Context, dir string) error {
	if err := command(ctx, nil, "go", "build", "-o", dir+string(filepath.Separator),
		"./cmd/ingress", "./cmd/belay", "github.com/nats-io/nats-server/v2"); err != nil {
		return err
	}
	var addrs [3]string
	for i := range addrs {
		var err error
		if addrs[i], err = freeAddr(); err != nil {
			return err
		}
	}
	s.addr, s.url, s.kills = addrs[0], "nats://"+addrs[1], make(map[string]int)
	config, conf := filepath.Join(dir, "belay.yaml"), filepath.Join(dir, "nats.conf")
	for path, text := range map[string]string{
		config: load.Sources,
		conf:   fmt.Sprintf("listen: %q\njetstream { store_dir: %q, sync_interval: %q }\n", addrs[1], filepath.Join(dir, "nats"), s.sync),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	s.server = &process{name: "nats-server", path: filepath.Join(dir, "nats-server"), args: []string{"-c", conf}}
	s.ingress = &process{name: "ingress", path: filepath.Join(dir, "ingress"), env: []string{
		load.Env, "BELAY_CONFIG=" + config, "BELAY_NATS_URL=" + s.url, "BELAY_INGRESS_ADDR=" + s.addr, "BELAY_OPS_ADDR=" + addrs[2],
	}}
	if err := s.server.start(); err != nil {
		return err
	}
	if err := command(ctx, nil, filepath.Join(dir, "belay"), "migrate", "--nats-url", s.url, "--shards", fmt.Sprint(shards)); err != nil {
		s.server.kill()
		return err
	}
	if err := s.ingress.start(); err != nil {
		s.server.kill()
		return err
	}
	return nil
}

// killing kills one of the programs, at random, again and again, and starts it
// again at once.
func (s *soak) killing(ctx context.Context, c *crowd) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.every/2 + rand.N(s.every)):
		}
		p := s.ingress
		if rand.IntN(3) == 0 {
			p = s.server
		}
		p.kill()
		s.kills[p.name]++
		if err := p.start(); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "killed %s; so far %d accepted\n", p.name, c.count())
	}
}

// check holds the answers against what is stored.
func (s *soak) check(ctx context.Context, c *crowd) error {
	count, err := load.Stored(ctx, s.url, shards)
	if err != nil {
		return err
	}
	var missing, twice, unanswered uint64
	for n := uint64(1); n <= c.last(); n++ {
		switch accepted := c.wasAccepted(n); {
		case accepted && count[n] == 0:
			missing++
		case count[n] > 1:
			twice++
		case !accepted && count[n] > 0:
			unanswered++
		}
	}
	fmt.Fprintf(os.Stdout, "stored: %d distinct; accepted and missing: %d; stored twice: %d; stored without an answer: %d\n",
		len(count), missing, twice, unanswered)
	var wrong []string
	if missing > 0 {
		wrong = append(wrong, fmt.Sprintf("%d webhooks were accepted and are not stored", missing))
	}
	if twice > 0 {
		wrong = append(wrong, fmt.Sprintf("%d are stored twice", twice))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("the guarantee does not hold: %s", strings.Join(wrong, ", "))
	}
	return nil
}
