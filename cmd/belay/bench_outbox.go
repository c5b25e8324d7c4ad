package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"text/tabwriter"
	"time"

	"github.com/belay-hooks/belay/internal/bench"
)

type benchOutboxCmd struct {
	Backlog     int           `default:"20000" env:"-" help:"How many notifications are stored before anything is measured."`
	Subscribers int           `default:"10" env:"-" help:"How many subscriptions want each of them."`
	Rate        float64       `env:"-" help:"How many notifications are stored a second while it is measured, for one subscription and after a backlog of none: what they wait. 0: the backlog is worked off as fast as it goes."`
	Size        int           `default:"2048" env:"-" help:"The size of a body in bytes."`
	Concurrency int           `default:"64" env:"-" help:"How many attempts are made at once, over all subscriptions."`
	Rounds      int           `default:"5" env:"-" help:"How often both are measured, in turns."`
	Warmup      time.Duration `default:"2s" env:"-" help:"How long each works before it is measured."`
	Duration    time.Duration `default:"3s" env:"-" help:"How long each is measured in a round."`
	DataDir     string        `placeholder:"DIR" env:"-" help:"Where the data is kept while it lasts. Default: the directory for temporary files."`
	Profile     string        `placeholder:"FILE" env:"-" help:"Write a CPU profile of the outbox, of the last round."`
	JSON        bool          `name:"json" env:"-" help:"Print everything measured as JSON."`
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
	const longest = 10 * time.Minute
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
	case c.Rounds < 1 || c.Rounds > 100:
		return fmt.Errorf("--rounds is %d, want 1 to 100", c.Rounds)
	case c.Duration <= 0 || c.Duration > longest || c.Warmup < 0 || c.Warmup > longest:
		return fmt.Errorf("--duration and --warmup are %s and %s, want at most %s", c.Duration, c.Warmup, longest)
	}
	return nil
}

// Run measures.
func (c *benchOutboxCmd) Run(ctx context.Context, s streams) error {
	programs := []string{programPost, programOutbox}
	var rounds []workRound
	for i := range c.Rounds {
		if i > 0 {
			programs[0], programs[1] = programs[1], programs[0]
		}
		for _, program := range programs {
			r, err := c.measure(ctx, i+1, program)
			switch {
			case ctx.Err() != nil:
				return errors.New("stopped before everything was measured")
			case err != nil:
				return fmt.Errorf("measure %s: %w", program, err)
			}
			fmt.Fprintf(s.err, "round %d of %d  %-8s %7.0f deliveries/s  wait p50 %v  p99 %v\n",
				i+1, c.Rounds, program, r.Rate, r.P50.Round(time.Microsecond), r.P99.Round(time.Microsecond))
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
		args = append(args, "--offered")
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
	return c.count(ctx, number, program, broker, sink, server)
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
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for i := range subscribers {
		body := fmt.Sprintf(`{"url":"http://%s/%d","filters":["bench"]}`, sink, i)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+server.Addr+"/v1/subscriptions", bytes.NewReader([]byte(body)))
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+benchKey)
		r.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(r)
		if err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		_, _ = io.Copy(io.Discard, resp.Body) // the status says all
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			return fmt.Errorf("subscribe: %s", resp.Status)
		}
	}
	return nil
}

// count measures what arrives for a while, and what it costs.
func (c *benchOutboxCmd) count(ctx context.Context, number int, program string, broker, sink, server *process) (r workRound, err error) {
	if err := pause(ctx, c.Warmup); err != nil {
		return r, err
	}
	arrived, err := sink.usage()
	if err != nil {
		return r, err
	}
	before, err := meterWork(server, broker)
	if err != nil {
		return r, err
	}
	profiled := make(chan error, 1)
	if program == programOutbox && number == c.Rounds && c.Profile != "" {
		go func() {
			profiled <- fetch(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", server.Ops, max(int(c.Duration.Seconds()), 1)), c.Profile)
		}()
	} else {
		profiled <- nil
	}
	if err := errors.Join(pause(ctx, c.Duration), <-profiled); err != nil {
		return r, err
	}
	after, err := meterWork(server, broker)
	if err != nil {
		return r, err
	}
	all, err := sink.usage()
	if err != nil {
		return r, err
	}
	r = workRound{
		Program: program, Round: number, Handled: all.Work.Handled - arrived.Work.Handled, Twice: all.Work.Twice,
		RSS: after.server.RSS,
	}
	switch {
	case r.Handled == 0:
		return r, errors.New("nothing was delivered")
	case program == programOutbox && c.Rate == 0 && all.Work.Handled >= uint64(c.Backlog*c.Subscribers):
		return r, fmt.Errorf("it was through before the time was over; raise --backlog, which is %d", c.Backlog)
	case c.Rate > 0:
		r.P50, r.P99 = all.Work.P50, all.Work.P99
	}
	r.Rate = float64(r.Handled) / all.Work.At.Sub(arrived.Work.At).Seconds()
	r.CPU = (after.server.CPU - before.server.CPU) / time.Duration(r.Handled)
	r.BrokerCPU = (after.broker.CPU - before.broker.CPU) / time.Duration(r.Handled)
	return r, nil
}

func (c *benchOutboxCmd) print(out io.Writer, rounds []workRound) error {
	totals := []workTotal{total(programPost, programPost, rounds), total(programOutbox, programPost, rounds)}
	if c.JSON {
		data, err := json.MarshalIndent(struct {
			Machine  machine     `json:"machine"`
			Load     string      `json:"load"`
			Rounds   []workRound `json:"rounds"`
			Programs []workTotal `json:"programs"`
		}{thisMachine(), c.describe(), rounds, totals}, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\n", data)
		return err
	}
	fmt.Fprintf(out, "%s\n%s\n\n", thisMachine(), c.describe())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tdeliveries/s\t× bare\twait p50 ms\tp99 ms\t× bare\tCPU µs\t× bare\tbroker µs\tRSS MB\t")
	for _, t := range totals {
		fmt.Fprintf(w, "%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t\n", t.Program, t.Rate, times(t.RateRatio),
			millis(t.P50), millis(t.P99), times(t.P99Ratio), micros(t.CPU), times(t.CPURatio), micros(t.BrokerCPU), t.RSS>>20)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(out, `
Medians of the rounds; ratios are medians of the ratios within a round. The wait is
from a notification's being sent to the broker to its arrival at the subscriber.
`)
	return err
}

func (c *benchOutboxCmd) describe() string {
	how := fmt.Sprintf("a backlog of %d notifications for %d subscriptions", c.Backlog, c.Subscribers)
	if c.Rate > 0 {
		how = fmt.Sprintf("%g notifications a second for one subscription", c.Rate)
	}
	return fmt.Sprintf("%s of %d bytes, %d at once, %d rounds of %s after %s", how, c.Size, c.Concurrency, c.Rounds, c.Duration, c.Warmup)
}
