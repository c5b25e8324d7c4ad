package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/belay-hooks/belay/internal/bench"
)

type benchWorkerCmd struct {
	Backlog     int           `default:"300000" env:"-" help:"How many events are stored before anything is measured."`
	Rate        float64       `env:"-" help:"How many events are stored a second while it is measured, after a backlog of none: what their handling waits. 0: the backlog is worked off as fast as it goes."`
	Size        int           `default:"4096" env:"-" help:"The size of a body in bytes."`
	Takes       time.Duration `env:"-" help:"How long the last handler takes."`
	Concurrency int           `default:"64" env:"-" help:"How many events are handled at once."`
	Rounds      int           `default:"5" env:"-" help:"How often both are measured, in turns."`
	Warmup      time.Duration `default:"1s" env:"-" help:"How long each works before it is measured."`
	Duration    time.Duration `default:"2s" env:"-" help:"How long each is measured in a round."`
	DataDir     string        `placeholder:"DIR" env:"-" help:"Where the data is kept while it lasts. Default: the directory for temporary files."`
	Profile     string        `placeholder:"FILE" env:"-" help:"Write a CPU profile of the worker, of the last round."`
	JSON        bool          `name:"json" env:"-" help:"Print everything measured as JSON."`
	Benchstat   bool          `env:"-" help:"Print it as go test -bench does, for benchstat."`
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
	const longest = 10 * time.Minute
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
	case c.Rounds < 1 || c.Rounds > 100:
		return fmt.Errorf("--rounds is %d, want 1 to 100", c.Rounds)
	case c.Duration <= 0 || c.Duration > longest || c.Warmup < 0 || c.Warmup > longest:
		return fmt.Errorf("--duration and --warmup are %s and %s, want at most %s", c.Duration, c.Warmup, longest)
	}
	return nil
}

// A workRound is one measurement of one program.
type workRound struct {
	Program string        `json:"program"`
	Round   int           `json:"round"`
	Handled uint64        `json:"handled"` // while it was measured
	Twice   uint64        `json:"twice"`   // handled again, from the start on
	Rate    float64       `json:"handled_per_second"`
	P50     time.Duration `json:"p50,omitempty"` // of the wait, where there is a rate
	P99     time.Duration `json:"p99,omitempty"`
	// What an event cost.
	CPU       time.Duration `json:"cpu_per_event"`
	BrokerCPU time.Duration `json:"broker_cpu_per_event"`
	RSS       int64         `json:"rss"`
}

// Run measures.
func (c *benchWorkerCmd) Run(ctx context.Context, s streams) error {
	programs := []string{programConsume, programWorker}
	var rounds []workRound
	for i := range c.Rounds {
		if i > 0 {
			programs[0], programs[1] = programs[1], programs[0]
		}
		both, err := c.measure(ctx, i+1, programs, s.err)
		switch {
		case ctx.Err() != nil:
			return errors.New("stopped before everything was measured")
		case err != nil:
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
		fmt.Fprintf(progress, "round %d of %d  %-8s %7.0f events/s  wait p50 %v  p99 %v\n",
			number, c.Rounds, program, r.Rate, r.P50.Round(time.Microsecond), r.P99.Round(time.Microsecond))
		rounds = append(rounds, r)
	}
	return rounds, nil
}

func (c *benchWorkerCmd) measureOne(ctx context.Context, dir, program string, number int, broker *process, load *bench.Events) (workRound, error) {
	none := workRound{}
	server, err := start(ctx, dir, program, "--broker", broker.NATS,
		"--concurrency", fmt.Sprint(c.Concurrency), "--takes", c.Takes.String())
	if err != nil {
		return none, err
	}
	defer server.stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.Rate > 0 {
		stop := load.Offer(ctx, c.Rate)
		defer stop()
	}
	if err := pause(ctx, c.Warmup); err != nil {
		return none, err
	}
	before, err := meterWork(server, broker)
	if err != nil {
		return none, err
	}
	profiled := make(chan error, 1)
	if program == programWorker && number == c.Rounds && c.Profile != "" {
		seconds := max(int(c.Duration.Seconds()), 1)
		go func() {
			profiled <- fetch(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", server.Ops, seconds), c.Profile)
		}()
	} else {
		profiled <- nil
	}
	if err := errors.Join(pause(ctx, c.Duration), <-profiled); err != nil {
		return none, err
	}
	after, err := meterWork(server, broker)
	if err != nil {
		return none, err
	}
	r := workRound{
		Program: program, Round: number, Twice: after.server.Work.Twice,
		Handled: after.server.Work.Handled - before.server.Work.Handled, RSS: after.server.RSS,
	}
	switch {
	case r.Handled == 0:
		return none, errors.New("nothing was handled")
	case c.Rate == 0 && after.server.Work.Handled == uint64(c.Backlog):
		return none, fmt.Errorf("it was through before the time was over; raise --backlog, which is %d", c.Backlog)
	case c.Rate > 0:
		r.P50, r.P99 = after.server.Work.P50, after.server.Work.P99
	}
	r.Rate = float64(r.Handled) / after.server.Work.At.Sub(before.server.Work.At).Seconds()
	r.CPU = (after.server.CPU - before.server.CPU) / time.Duration(r.Handled)
	r.BrokerCPU = (after.broker.CPU - before.broker.CPU) / time.Duration(r.Handled)
	return r, nil
}

// meterWork is what the processes have used up.
func meterWork(server, broker *process) (m meters, err error) {
	m.server, err = server.usage()
	if err != nil {
		return m, err
	}
	m.broker, err = broker.usage()
	return m, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// A workTotal is what the rounds of a program come to.
type workTotal struct {
	Program   string        `json:"program"`
	Rate      float64       `json:"handled_per_second"`
	P50       time.Duration `json:"p50,omitempty"`
	P99       time.Duration `json:"p99,omitempty"`
	CPU       time.Duration `json:"cpu_per_event"`
	BrokerCPU time.Duration `json:"broker_cpu_per_event"`
	InHand    float64       `json:"in_hand,omitempty"` // on average, where handling takes a time
	RSS       int64         `json:"rss"`               // the greatest

	// Beside the bare loop.
	RateRatio float64 `json:"rate_ratio,omitempty"`
	P99Ratio  float64 `json:"p99_ratio,omitempty"`
	CPURatio  float64 `json:"cpu_ratio,omitempty"`
}

// total sums up the rounds of a program beside those of the bare one, in the order of the rounds.
func total(program, base string, rounds []workRound) workTotal {
	of := func(p string, figure func(workRound) float64) (all []float64) {
		for _, r := range rounds {
			if r.Program == p {
				all = append(all, figure(r))
			}
		}
		return all
	}
	ratio := func(figure func(workRound) float64) float64 {
		mine, bare := of(program, figure), of(base, figure)
		var all []float64
		for i := range mine {
			if bare[i] > 0 {
				all = append(all, mine[i]/bare[i])
			}
		}
		return median(all)
	}
	rate := func(r workRound) float64 { return r.Rate }
	p99 := func(r workRound) float64 { return float64(r.P99) }
	cpu := func(r workRound) float64 { return float64(r.CPU) }
	t := workTotal{
		Program: program, Rate: median(of(program, rate)),
		P50:       time.Duration(median(of(program, func(r workRound) float64 { return float64(r.P50) }))),
		P99:       time.Duration(median(of(program, p99))),
		CPU:       time.Duration(median(of(program, cpu))),
		BrokerCPU: time.Duration(median(of(program, func(r workRound) float64 { return float64(r.BrokerCPU) }))),
		RateRatio: ratio(rate), P99Ratio: ratio(p99), CPURatio: ratio(cpu),
	}
	for _, r := range rounds {
		if r.Program == program {
			t.RSS = max(t.RSS, r.RSS)
		}
	}
	return t
}

func (c *benchWorkerCmd) print(out io.Writer, rounds []workRound) error {
	totals := []workTotal{total(programConsume, programConsume, rounds), total(programWorker, programConsume, rounds)}
	for i := range totals {
		totals[i].InHand = totals[i].Rate * c.Takes.Seconds()
	}
	switch {
	case c.JSON:
		return printJSON(out, struct {
			Machine  machine     `json:"machine"`
			Load     string      `json:"load"`
			Rounds   []workRound `json:"rounds"`
			Programs []workTotal `json:"programs"`
		}{thisMachine(), c.describe(), rounds, totals})
	case c.Benchstat:
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
	fmt.Fprintf(out, "%s\n%s\n\n", thisMachine(), c.describe())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tevents/s\t× bare\twait p50 ms\tp99 ms\t× bare\tCPU µs\t× bare\tbroker µs\tin hand\tRSS MB\t")
	for _, t := range totals {
		fmt.Fprintf(w, "%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.1f\t%d\t\n", t.Program, t.Rate, times(t.RateRatio),
			millis(t.P50), millis(t.P99), times(t.P99Ratio), micros(t.CPU), times(t.CPURatio), micros(t.BrokerCPU), t.InHand, t.RSS>>20)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(out, `
Medians of the rounds; ratios are medians of the ratios within a round. The wait is
from an event's being sent to the broker to its being handled.
`)
	return err
}

func (c *benchWorkerCmd) describe() string {
	how := fmt.Sprintf("a backlog of %d events", c.Backlog)
	if c.Rate > 0 {
		how = fmt.Sprintf("%g events a second", c.Rate)
	}
	return fmt.Sprintf("%s of %d bytes, %d at once, handled in %s, %d rounds of %s after %s",
		how, c.Size, c.Concurrency, c.Takes, c.Rounds, c.Duration, c.Warmup)
}
