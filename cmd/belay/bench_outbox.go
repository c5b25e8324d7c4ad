package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/belay-hooks/belay/internal/bench"
	"github.com/belay-hooks/belay/pkg/client"
	"github.com/belay-hooks/belay/pkg/stream"
)

type benchOutboxCmd struct {
	Backlog     int     `default:"20000" env:"-" help:"How many notifications are stored before anything is measured."`
	Subscribers int     `default:"10" env:"-" help:"How many subscriptions want each of them."`
	Rate        float64 `env:"-" help:"How many notifications are stored a second while it is measured, for one subscription and after a backlog of none: what they wait. 0: the backlog is worked off as fast as it goes."`
	Size        int     `default:"2048" env:"-" help:"The size of a body in bytes."`
	Concurrency int     `default:"64" env:"-" help:"How many attempts are made at once, over all subscriptions."`
	benchFlags  `kong:"embed,set='warmup=2s',set='duration=3s'"`
}

// Help shows how it is used.
func (*benchOutboxCmd) Help() string {
	return `Measures an outbox, from the stored notification to the recorded attempt, beside
a bare loop that posts signed bodies with the same client and stores a line for
each. Broker, outbox and subscriber are processes of their own:

  belay bench outbox
  belay bench outbox --rate 500     # how long notifications wait

The times of one machine mean little on another: compare what was measured in
one run.`
}

// Validate bounds what is asked for.
func (c *benchOutboxCmd) Validate() error {
	switch {
	case c.Backlog < 1 || c.Backlog > 1_000_000:
		return fmt.Errorf("--backlog is %d, want 1 to 1000000", c.Backlog)
	case c.Subscribers < 1 || c.Subscribers > maxSubscribers:
		return fmt.Errorf("--subscribers is %d, want 1 to %d", c.Subscribers, maxSubscribers)
	case c.Rate < 0 || c.Rate > 1e5:
		return fmt.Errorf("--rate is %g, want 0 to 100000", c.Rate)
	case c.Size < 100 || c.Size > 512<<10:
		return fmt.Errorf("--size is %d, want 100 to %d", c.Size, 512<<10)
	case c.Concurrency < 1 || c.Concurrency > 1000:
		return fmt.Errorf("--concurrency is %d, want 1 to 1000", c.Concurrency)
	}
	return c.validate()
}

// Run measures.
func (c *benchOutboxCmd) Run(ctx context.Context, s streams) error {
	var rounds []workRound
	for number := 1; number <= c.Rounds; number++ {
		for _, program := range turn([]string{programPost, programOutbox}, number) {
			r, err := c.measure(ctx, number, program)
			if err := stopped(ctx, err); err != nil {
				return fmt.Errorf("measure %s: %w", program, err)
			}
			r.progress(s.err, c.Rounds, "deliveries")
			rounds = append(rounds, r)
		}
	}
	return c.print(s.out, rounds)
}

// measure measures a program on a broker of its own.
func (c *benchOutboxCmd) measure(ctx context.Context, number int, program string) (r workRound, err error) {
	dir, err := os.MkdirTemp(c.DataDir, "belay-bench-")
	if err != nil {
		return r, fmt.Errorf("make a temporary data directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	broker, err := start(ctx, dir, programBroker, "--durability", relaxed, "--dir", dir)
	if err != nil {
		return r, err
	}
	defer broker.stop()
	sink, err := start(ctx, dir, programSink)
	if err != nil {
		return r, err
	}
	defer sink.stop()
	load, err := bench.NewNotifications(ctx, broker.NATS, c.Size)
	if err != nil {
		return r, err
	}
	defer load.Close()
	atOnce := c.Concurrency
	if program == programOutbox && c.Rate == 0 {
		atOnce = max(atOnce/c.Subscribers, 1) // for each of them
	}
	args := []string{
		program, "--broker", broker.NATS, "--sink", sink.Addr,
		"--concurrency", fmt.Sprint(atOnce), "--size", fmt.Sprint(c.Size),
	}
	if c.Rate > 0 {
		args = append(args, "--offered", stream.Notify)
	}
	if program == programOutbox {
		if err := c.subscribe(ctx, dir, args, sink.Addr); err != nil {
			return r, err
		}
		if c.Rate == 0 {
			if err := load.Store(ctx, c.Backlog); err != nil {
				return r, err
			}
		}
	}
	server, err := start(ctx, dir, args...)
	if err != nil {
		return r, err
	}
	defer server.stop()
	if c.Rate > 0 {
		offering, cancel := context.WithCancel(ctx)
		defer cancel()
		defer load.Offer(offering, c.Rate)()
	}
	p := workers{broker: broker, servers: []*process{server}, sink: sink, offered: c.Rate > 0}
	if !p.offered && program == programOutbox {
		p.backlog = c.Backlog * c.Subscribers
	}
	return c.observe(ctx, program, number, p)
}

// subscribe makes the subscriptions, with an outbox that ends then.
func (c *benchOutboxCmd) subscribe(ctx context.Context, dir string, args []string, sink string) error {
	server, err := start(ctx, dir, args...)
	if err != nil {
		return err
	}
	defer server.stop()
	subscribers := c.Subscribers
	if c.Rate > 0 {
		subscribers = 1
	}
	return subscribe(ctx, server, sink, subscribers)
}

// subscribe makes so many subscriptions of a sink.
func subscribe(ctx context.Context, outbox *process, sink string, subscribers int) error {
	api, err := client.New("http://"+outbox.Addr, benchKey)
	if err != nil {
		return err
	}
	for i := range subscribers {
		if _, err := api.Create(ctx, client.Settings{URL: fmt.Sprintf("http://%s/%d", sink, i), Filters: []string{"bench"}}); err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
	}
	return nil
}

func (c *benchOutboxCmd) print(out io.Writer, rounds []workRound) error {
	totals := []workTotal{total(programPost, programPost, rounds), total(programOutbox, programPost, rounds)}
	return workResult{thisMachine(), c.describe(), rounds, totals}.print(out, c.JSON, "deliveries", "a notification's being sent to the broker to its arrival at the subscriber")
}

func (c *benchOutboxCmd) describe() string {
	how := fmt.Sprintf("a backlog of %d notifications for %d subscriptions", c.Backlog, c.Subscribers)
	if c.Rate > 0 {
		how = fmt.Sprintf("%g notifications a second for one subscription", c.Rate)
	}
	return fmt.Sprintf("%s of %d bytes, %d at once, %d rounds of %s after %s", how, c.Size, c.Concurrency, c.Rounds, c.Duration, c.Warmup)
}
