package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/belay-hooks/belay/internal/bench"
)

type benchWorkerCmd struct {
	Backlog     int           `default:"300000" env:"-" help:"How many events are stored before anything is measured."`
	Rate        float64       `env:"-" help:"How many events are stored a second while it is measured, after a backlog of none: what their handling waits. 0: the backlog is worked off as fast as it goes."`
	Size        int           `default:"4096" env:"-" help:"The size of a body in bytes."`
	Takes       time.Duration `env:"-" help:"How long the last handler takes."`
	Concurrency int           `default:"64" env:"-" help:"How many events are handled at once."`
	Benchstat   bool          `env:"-" help:"Print it as go test -bench does, for benchstat."`
	benchFlags  `kong:"embed,set='warmup=1s',set='duration=2s'"`
}

// Help shows how it is used.
func (*benchWorkerCmd) Help() string {
	return `Measures a worker with a chain of three handlers that do nothing, its record
included, beside a bare loop that takes events and acknowledges them. Broker,
worker and load are processes of their own:

  belay bench worker
  belay bench worker --rate 2000                   # how long events wait
  belay bench worker --takes 50ms --backlog 20000  # how many are in hand
  belay bench worker --backlog 1000000 --size 512 --rounds 1

The times of one machine mean little on another: compare what was measured in
one run.`
}

// Validate bounds what is asked for.
func (c *benchWorkerCmd) Validate() error {
	switch {
	case c.Backlog < 1 || c.Backlog > 10_000_000:
		return fmt.Errorf("--backlog is %d, want 1 to 10000000", c.Backlog)
	case c.Rate < 0 || c.Rate > 1e5:
		return fmt.Errorf("--rate is %g, want 0 to 100000", c.Rate)
	case c.Size < 1 || c.Size > 512<<10:
		return fmt.Errorf("--size is %d, want 1 to %d", c.Size, 512<<10)
	case c.Takes < 0 || c.Takes > 10*time.Second:
		return fmt.Errorf("--takes is %s, want at most 10s", c.Takes)
	case c.Concurrency < 1 || c.Concurrency > 4096:
		return fmt.Errorf("--concurrency is %d, want 1 to 4096", c.Concurrency)
	}
	return c.validate()
}

// Run measures.
func (c *benchWorkerCmd) Run(ctx context.Context, s streams) error {
	var rounds []workRound
	for number := 1; number <= c.Rounds; number++ {
		both, err := c.measure(ctx, number, turn([]string{programConsume, programWorker}, number), s.err)
		if err := stopped(ctx, err); err != nil {
			return err
		}
		rounds = append(rounds, both...)
	}
	if err := c.print(s.out, rounds); err != nil {
		return err
	}
	for _, r := range rounds {
		if r.Twice > 0 {
			return fmt.Errorf("%s handled %d events twice in round %d", r.Program, r.Twice, r.Round)
		}
	}
	return nil
}

// measure measures the programs one after another on one stream.
func (c *benchWorkerCmd) measure(ctx context.Context, number int, programs []string, progress io.Writer) (rounds []workRound, err error) {
	dir, err := os.MkdirTemp(c.DataDir, "belay-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary data directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	broker, err := start(ctx, dir, programBroker, "--durability", relaxed, "--dir", dir)
	if err != nil {
		return nil, err
	}
	defer broker.stop()
	load, err := bench.NewEvents(ctx, broker.NATS, c.Size)
	if err != nil {
		return nil, err
	}
	defer load.Close()
	if c.Rate == 0 {
		fmt.Fprintf(progress, "round %d of %d  storing %d events\n", number, c.Rounds, c.Backlog)
		if err := load.Store(ctx, c.Backlog); err != nil {
			return nil, err
		}
	}
	for _, program := range programs {
		r, err := c.measureOne(ctx, dir, program, number, broker, load)
		if err != nil {
			return nil, fmt.Errorf("measure %s: %w", program, err)
		}
		r.progress(progress, c.Rounds, "events")
		rounds = append(rounds, r)
	}
	return rounds, nil
}

func (c *benchWorkerCmd) measureOne(ctx context.Context, dir, program string, number int, broker *process, load *bench.Events) (r workRound, err error) {
	server, err := start(ctx, dir, program, "--broker", broker.NATS,
		"--concurrency", fmt.Sprint(c.Concurrency), "--takes", c.Takes.String())
	if err != nil {
		return r, err
	}
	defer server.stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.Rate > 0 {
		defer load.Offer(ctx, c.Rate)()
	}
	p := workers{broker: broker, servers: []*process{server}, offered: c.Rate > 0}
	if !p.offered {
		p.backlog = c.Backlog
	}
	return c.observe(ctx, program, number, p)
}

func (c *benchWorkerCmd) print(out io.Writer, rounds []workRound) error {
	totals := []workTotal{total(programConsume, programConsume, rounds), total(programWorker, programConsume, rounds)}
	for i := range totals {
		totals[i].InHand = totals[i].Rate * c.Takes.Seconds()
	}
	if c.Benchstat {
		m := thisMachine()
		fmt.Fprintf(out, "goos: %s\ngoarch: %s\n", m.OS, m.Arch)
		for _, r := range rounds {
			if _, err := fmt.Fprintf(out, "BenchmarkWorker/program=%s %d %.0f ns/op %.0f handled/s %d p50-ns %d p99-ns %d cpu-ns/op\n",
				r.Program, r.Handled, 1e9/r.Rate, r.Rate, r.P50, r.P99, r.CPU); err != nil {
				return err
			}
		}
		return nil
	}
	return workResult{thisMachine(), c.describe(), rounds, totals}.print(out, c.JSON, "events", "an event's being sent to the broker to its being handled")
}

func (c *benchWorkerCmd) describe() string {
	how := fmt.Sprintf("a backlog of %d events", c.Backlog)
	if c.Rate > 0 {
		how = fmt.Sprintf("%g events a second", c.Rate)
	}
	return fmt.Sprintf("%s of %d bytes, %d at once, handled in %s, %d rounds of %s after %s",
		how, c.Size, c.Concurrency, c.Takes, c.Rounds, c.Duration, c.Warmup)
}
