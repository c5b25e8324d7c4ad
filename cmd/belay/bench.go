package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/belay-hooks/belay/internal/bench"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/receiver/samples"
)

type benchCmd struct {
	Ingress benchIngressCmd `cmd:"" help:"Measure how webhooks are received and stored, beside the barest programs that could."`
	Worker  benchWorkerCmd  `cmd:"" help:"Measure how stored events are handled, beside a bare loop that takes and acknowledges them."`
	Outbox  benchOutboxCmd  `cmd:"" help:"Measure how notifications are delivered, beside a bare loop that posts and stores a line."`
	Target  benchTargetCmd  `cmd:"" hidden:"" help:"What is measured; belay bench starts it."`
}

// The durabilities that can be measured.
const (
	relaxed = "relaxed" // survives the death of the process
	barrier = "barrier" // flushed before the answer, one flush for all that wait: what belay serve does
	always  = "always"  // flushed before the answer, one by one
)

type benchIngressCmd struct {
	Durability  []string      `default:"relaxed,barrier,always" enum:"relaxed,barrier,always" env:"-" help:"When an answer is given: once the operating system has the webhook (relaxed), once a flush shared with others is done (barrier; what serve does), or once its own is (always)."`
	Providers   []string      `default:"github,stripe" enum:"github,stripe" env:"-" help:"Whose webhooks are sent."`
	Connections int           `default:"256" env:"-" help:"How many senders there are, each with a connection."`
	Rate        float64       `env:"-" help:"How many webhooks are sent a second, besides those that are sent twice. 0: each sender sends the next when it has the answer."`
	Duplicates  string        `default:"5%" env:"-" help:"The share that is sent twice."`
	Rounds      int           `default:"5" env:"-" help:"How often everything is measured, in turns."`
	Warmup      time.Duration `default:"1s" env:"-" help:"How long each is under load before it is measured."`
	Duration    time.Duration `default:"2s" env:"-" help:"How long each is measured in a round."`
	Broker      string        `default:"embedded" enum:"embedded,separate" env:"-" help:"Whether the broker is in the measured process, as with serve, or one of its own, whose CPU is told apart."`
	Ceilings    bool          `default:"true" negatable:"" env:"-" help:"Measure the bare programs too."`
	DataDir     string        `placeholder:"DIR" env:"-" help:"Where the data is kept while it lasts: on the file system to measure. Default: the one for temporary files."`
	Profile     string        `placeholder:"FILE" env:"-" help:"Write a CPU profile of Belay under load, from a round of its own at the end."`
	JSON        bool          `name:"json" env:"-" help:"Print everything measured as JSON."`
	Benchstat   bool          `env:"-" help:"Print it as go test -bench does, for benchstat."`

	duplicates float64
}

// Help shows how it is used.
func (*benchIngressCmd) Help() string {
	return `Everything runs on this machine, in processes of its own, and leaves nothing:

  belay bench ingress
  belay bench ingress --durability relaxed --connections 64 --broker separate
  belay bench ingress --rate 100 --connections 16
  belay bench ingress --data-dir /var/lib/belay --json > result.json

The times of one machine mean little on another. Compare what was measured in
one run: the table tells everything as a ratio to the bare program too.`
}

// Validate bounds what is asked for.
func (c *benchIngressCmd) Validate() error {
	const longest = 10 * time.Minute
	switch {
	case c.Connections < 1 || c.Connections > 4096:
		return fmt.Errorf("--connections is %d, want 1 to 4096", c.Connections)
	case c.Rate < 0 || c.Rate > 1e6:
		return fmt.Errorf("--rate is %g, want 0 to 1000000", c.Rate)
	case c.Rounds < 1 || c.Rounds > 100:
		return fmt.Errorf("--rounds is %d, want 1 to 100", c.Rounds)
	case c.Duration <= 0 || c.Duration > longest || c.Warmup < 0 || c.Warmup > longest:
		return fmt.Errorf("--duration and --warmup are %s and %s, want at most %s", c.Duration, c.Warmup, longest)
	case c.Broker == separateBroker && slices.Contains(c.Durability, barrier) && len(c.Durability) == 1:
		return errors.New("--broker separate has no barrier: only the process with the broker can flush its data")
	}
	if _, err := fmt.Sscanf(strings.TrimSuffix(c.Duplicates, "%"), "%g", &c.duplicates); err != nil {
		return fmt.Errorf("--duplicates is %q, want a share such as 5%%", c.Duplicates)
	}
	if strings.HasSuffix(c.Duplicates, "%") {
		c.duplicates /= 100
	}
	if c.duplicates < 0 || c.duplicates > 0.9 {
		return fmt.Errorf("--duplicates is %s, want 0%% to 90%%", c.Duplicates)
	}
	return nil
}

const separateBroker = "separate"

// A variant is a program that is measured.
type variant struct {
	Program    string `json:"program"`
	Durability string `json:"durability,omitempty"` // empty: it stores nothing
}

// The programs.
const (
	programHTTP    = "http"    // reads the body and answers
	programHMAC    = "hmac"    // also verifies
	programPublish = "publish" // also stores
	programBelay   = "belay"
	programBroker  = "broker" // stores, for the others
)

func (v variant) String() string {
	if v.Durability == "" {
		return v.Program
	}
	return v.Program + " " + v.Durability
}

// variants is what a run measures.
func (c *benchIngressCmd) variants() []variant {
	var all []variant
	if c.Ceilings {
		all = append(all, variant{programHTTP, ""}, variant{programHMAC, ""})
	}
	for _, d := range []string{relaxed, barrier, always} {
		if !slices.Contains(c.Durability, d) || d == barrier && c.Broker == separateBroker {
			continue
		}
		if c.Ceilings {
			all = append(all, variant{programPublish, d})
		}
		all = append(all, variant{programBelay, d})
	}
	return all
}

// Run measures.
func (c *benchIngressCmd) Run(ctx context.Context, s streams) error {
	hooks, err := benchHooks(c.Providers)
	if err != nil {
		return err
	}
	b := &ingressBench{cmd: c, hooks: hooks, progress: s.err}
	defer b.clean()
	variants := c.variants()
	var rounds []round
	for i := range c.Rounds {
		for j := range variants {
			v := variants[j]
			if i%2 == 1 { // what comes first or last has its turn at the other end
				v = variants[len(variants)-1-j]
			}
			r, err := b.measure(ctx, i+1, v)
			if ctx.Err() != nil {
				return errors.New("stopped before everything was measured")
			}
			if err != nil {
				return fmt.Errorf("measure %s: %w", v, err)
			}
			rounds = append(rounds, *r)
		}
	}
	if c.Profile != "" {
		if err := b.profile(ctx); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
	}
	if err := c.print(s.out, rounds, variants); err != nil {
		return err
	}
	return honest(rounds)
}

func (c *benchIngressCmd) print(out io.Writer, rounds []round, variants []variant) error {
	switch {
	case c.JSON:
		return printJSON(out, struct {
			Machine  machine  `json:"machine"`
			Load     string   `json:"load"`
			Rounds   []round  `json:"rounds"`
			Variants []totals `json:"variants"`
		}{thisMachine(), c.describe(), rounds, sumUp(rounds, variants)})
	case c.Benchstat:
		return printBenchstat(out, rounds)
	}
	fmt.Fprintf(out, "%s\n%s\n\n", thisMachine(), c.describe())
	return printTable(out, sumUp(rounds, variants))
}

func (c *benchIngressCmd) describe() string {
	how := "closed loop"
	if c.Rate > 0 {
		how = fmt.Sprintf("%g webhooks a second offered", c.Rate)
	}
	return fmt.Sprintf("%s, %d connections, %s, %s sent twice, %s broker, %d rounds of %s after %s",
		how, c.Connections, strings.Join(c.Providers, " and "), c.Duplicates, c.Broker, c.Rounds, c.Duration, c.Warmup)
}

// honest is an error if a server answered 2xx to what it did not store.
func honest(rounds []round) error {
	for i := range rounds {
		if r := &rounds[i]; r.Count != nil && !r.Count.Holds() {
			return fmt.Errorf("%s, round %d: of %d webhooks that were answered 2xx %d are not stored, and %d ids are stored twice",
				r.Variant, r.Round, r.Count.Accepted, r.Count.Missing, r.Count.Twice)
		}
	}
	return nil
}

// benchSecret is what the load is signed with.
const benchSecret = "belay bench"

type plainSecret string

// Value is the secret.
func (s plainSecret) Value() (string, error) { return string(s), nil }

func benchSource(provider string) (*receiver.Source, error) {
	return receiver.NewSource(receiver.SourceConfig{Receiver: provider, Secrets: []receiver.Secret{plainSecret(benchSecret)}})
}

// benchHooks are the webhooks that are sent: the samples as they come from the
// providers, GitHub's without blanks and Stripe's with.
func benchHooks(providers []string) ([]*bench.Hook, error) {
	const githubID, stripeID = "b3e1a9d0-7f1c-11ef-8000-000000000000", "evt_1Belay000000000000"
	var hooks []*bench.Hook
	for _, sampled := range []struct{ provider, event string }{
		{"github", "push"}, {"stripe", "charge.succeeded"}, {"github", "push"}, {"stripe", "customer.subscription.created"},
	} {
		if !slices.Contains(providers, sampled.provider) {
			continue
		}
		sample, ok := samples.Find(sampled.provider, sampled.event)
		if !ok {
			return nil, fmt.Errorf("there is no sample %s of %s", sampled.event, sampled.provider)
		}
		id := githubID
		if sampled.provider == "stripe" {
			id = stripeID
		}
		_, body, err := sample.Fill(id, time.Now())
		if err != nil {
			return nil, err
		}
		source, err := benchSource(sampled.provider)
		if err != nil {
			return nil, err
		}
		c := bench.HookConfig{
			Source: source, Path: "/webhooks/" + sampled.provider, Body: body, ID: id,
			Header: http.Header{"Content-Type": {"application/json"}, "Accept": {"*/*"}},
		}
		if sampled.provider == "github" {
			if c.Body, err = compact(body); err != nil {
				return nil, err
			}
			c.Header.Set("User-Agent", "GitHub-Hookshot/044aadd")
			c.Header.Set("X-GitHub-Event", sampled.event)
			c.Header.Set("X-GitHub-Delivery", githubID)
			c.Header.Set("X-GitHub-Hook-ID", "292430182")
			c.Header.Set("X-GitHub-Hook-Installation-Target-ID", "79929171")
			c.Header.Set("X-GitHub-Hook-Installation-Target-Type", "repository")
		} else {
			c.Signature = "Stripe-Signature"
			c.Header.Set("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
		}
		hook, err := bench.NewHook(c)
		if err != nil {
			return nil, err
		}
		hooks = append(hooks, hook)
	}
	return hooks, nil
}

// compact is a JSON text without the blanks between its parts.
func compact(text []byte) ([]byte, error) {
	var out bytes.Buffer
	err := json.Compact(&out, text)
	return out.Bytes(), err
}
