package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

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

func (r *workRound) progress(out io.Writer, rounds int, unit string) {
	fmt.Fprintf(out, "round %d of %d  %-8s %7.0f %s/s  wait p50 %v  p99 %v\n",
		r.Round, rounds, r.Program, r.Rate, unit, r.P50.Round(time.Microsecond), r.P99.Round(time.Microsecond))
}

// workers are the processes of a measurement of work.
type workers struct {
	broker  *process
	servers []*process // what is measured, together
	sink    *process   // that they post to; nil where the one server itself counts
	offered bool       // at a rate, or what is worked on has waited for the measurement
	backlog int        // how much there is to do; 0: no end of it
}

// workMeters is what they have used up, and what they have done.
type workMeters struct {
	servers, broker usage
	work            *work
}

func (p workers) meter() (m workMeters, err error) {
	for _, server := range p.servers {
		u, err := server.usage()
		if err != nil {
			return m, err
		}
		m.servers.CPU += u.CPU
		m.servers.RSS += u.RSS
		m.work = u.Work
	}
	if m.broker, err = p.broker.usage(); err != nil {
		return m, err
	}
	if p.sink != nil {
		m.work, err = p.arrived()
	}
	return m, err
}

// arrived is what the sink has been posted.
func (p workers) arrived() (*work, error) {
	u, err := p.sink.usage()
	return u.Work, err
}

// between is what was done between two looks at them, and what it cost.
func between(before, after workMeters) (r workRound, err error) {
	r = workRound{Handled: after.work.Handled - before.work.Handled, Twice: after.work.Twice, RSS: after.servers.RSS}
	if r.Handled == 0 {
		return r, errors.New("nothing was handled")
	}
	r.P50, r.P99 = after.work.P50, after.work.P99
	r.Rate = float64(r.Handled) / after.work.At.Sub(before.work.At).Seconds()
	r.CPU = (after.servers.CPU - before.servers.CPU) / time.Duration(r.Handled)
	r.BrokerCPU = (after.broker.CPU - before.broker.CPU) / time.Duration(r.Handled)
	return r, nil
}

// observe lets a program work for a while, and tells what came of it and what it
// cost.
func (f *benchFlags) observe(ctx context.Context, program string, number int, p workers) (r workRound, err error) {
	if err := pause(ctx, f.Warmup); err != nil {
		return r, err
	}
	before, err := p.meter()
	if err != nil {
		return r, err
	}
	profiled := make(chan error, 1)
	if f.Profile != "" && number == f.Rounds && (program == programWorker || program == programOutbox) {
		go func() { profiled <- p.servers[0].profile(ctx, f.Duration, f.Profile) }()
	} else {
		profiled <- nil
	}
	if err := errors.Join(pause(ctx, f.Duration), <-profiled); err != nil {
		return r, err
	}
	after, err := p.meter()
	if err != nil {
		return r, err
	}
	if p.backlog > 0 && after.work.Handled >= uint64(p.backlog) {
		return r, errors.New("it was through before the time was over: raise --backlog")
	}
	r, err = between(before, after)
	r.Program, r.Round = program, number
	if !p.offered {
		r.P50, r.P99 = 0, 0 // the wait of a backlog tells nothing
	}
	return r, err
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

// total sums up the rounds of a program beside those of the bare one.
func total(program, base string, rounds []workRound) workTotal {
	of := func(program string) []workRound {
		return where(rounds, func(r *workRound) bool { return r.Program == program })
	}
	mine, bare := of(program), of(base)
	rate := func(r *workRound) float64 { return r.Rate }
	p50 := func(r *workRound) float64 { return float64(r.P50) }
	p99 := func(r *workRound) float64 { return float64(r.P99) }
	cpu := func(r *workRound) float64 { return float64(r.CPU) }
	brokerCPU := func(r *workRound) float64 { return float64(r.BrokerCPU) }
	t := workTotal{
		Program: program, Rate: medianOf(mine, rate),
		P50: time.Duration(medianOf(mine, p50)), P99: time.Duration(medianOf(mine, p99)),
		CPU: time.Duration(medianOf(mine, cpu)), BrokerCPU: time.Duration(medianOf(mine, brokerCPU)),
		RateRatio: ratio(mine, bare, rate), P99Ratio: ratio(mine, bare, p99), CPURatio: ratio(mine, bare, cpu),
	}
	for _, r := range mine {
		t.RSS = max(t.RSS, r.RSS)
	}
	return t
}

// A workResult is everything measured.
type workResult struct {
	Machine  machine     `json:"machine"`
	Load     string      `json:"load"`
	Rounds   []workRound `json:"rounds"`
	Programs []workTotal `json:"programs"`
}

func (r workResult) print(out io.Writer, asJSON bool, unit, wait string) error {
	if asJSON {
		return printJSON(out, r)
	}
	fmt.Fprintf(out, "%s\n%s\n\n", r.Machine, r.Load)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\t%s/s\t× bare\twait p50 ms\tp99 ms\t× bare\tCPU µs\t× bare\tbroker µs\tin hand\tRSS MB\t\n", unit)
	for _, t := range r.Programs {
		fmt.Fprintf(w, "%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t\n", t.Program, t.Rate, times(t.RateRatio),
			millis(t.P50), millis(t.P99), times(t.P99Ratio), micros(t.CPU), times(t.CPURatio), micros(t.BrokerCPU), times(t.InHand), t.RSS>>20)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nMedians of the rounds; ratios are medians of the ratios within a round. The wait is\nfrom %s.\n", wait)
	return err
}
