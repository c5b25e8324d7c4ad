package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

type benchIngressCmd struct {
	Durability  []string `default:"relaxed,barrier,always" enum:"relaxed,barrier,always" env:"-" help:"When an answer is given: once the operating system has the webhook (relaxed), once a flush shared with others is done (barrier; what serve does), or once its own is (always)."`
	Providers   []string `default:"github,stripe" enum:"github,stripe" env:"-" help:"Whose webhooks are sent."`
	Connections int      `default:"256" env:"-" help:"How many senders there are, each with a connection."`
	Rate        float64  `env:"-" help:"How many webhooks are sent a second, besides those that are sent twice. 0: each sender sends the next when it has the answer."`
	Duplicates  string   `default:"5%" env:"-" help:"The share that is sent twice."`
	Broker      string   `default:"embedded" enum:"embedded,separate" env:"-" help:"Whether the broker is in the measured process, as with serve, or one of its own, whose CPU is told apart."`
	Ceilings    bool     `default:"true" negatable:"" env:"-" help:"Measure the bare programs too."`
	Benchstat   bool     `env:"-" help:"Print it as go test -bench does, for benchstat."`
	benchFlags  `kong:"embed,set='warmup=1s',set='duration=2s'"`

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
	switch {
	case c.Connections < 1 || c.Connections > 4096:
		return fmt.Errorf("--connections is %d, want 1 to 4096", c.Connections)
	case c.Rate < 0 || c.Rate > 1e6:
		return fmt.Errorf("--rate is %g, want 0 to 1000000", c.Rate)
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
	return c.validate()
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
	for number := 1; number <= c.Rounds; number++ {
		for _, v := range turn(variants, number) {
			r, err := b.measure(ctx, number, v)
			if err := stopped(ctx, err); err != nil {
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
