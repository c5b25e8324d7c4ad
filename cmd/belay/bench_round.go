package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/belay-hooks/belay/internal/bench"
	"github.com/belay-hooks/belay/pkg/stream"
)

// ingressBench measures one program after another.
type ingressBench struct {
	cmd      *benchIngressCmd
	hooks    []*bench.Hook
	progress io.Writer
	dir      string // of the running measurement
}

// A round is one measurement of one program.
type round struct {
	Variant variant `json:"variant"`
	Round   int     `json:"round"`

	Offered  float64 `json:"offered,omitempty"` // webhooks a second; none in a closed loop
	Sent     uint64  `json:"sent"`
	Accepted uint64  `json:"accepted"`
	Rate     float64 `json:"accepted_per_second"`
	// Resent is how many were sent twice on purpose, Recognized how many answers
	// said so.
	Resent     uint64         `json:"resent"`
	Recognized uint64         `json:"recognized"`
	Refused    map[int]uint64 `json:"refused,omitempty"`
	Failed     uint64         `json:"failed"`

	P50  time.Duration `json:"p50"`
	P99  time.Duration `json:"p99"`
	P999 time.Duration `json:"p999"`

	// What an accepted webhook cost: the measured process, the broker if it is
	// another one, and the load.
	CPU       time.Duration `json:"cpu_per_webhook"`
	BrokerCPU time.Duration `json:"broker_cpu_per_webhook,omitempty"`
	LoadCPU   time.Duration `json:"load_cpu_per_webhook"`
	Flushes   float64       `json:"flushes_per_webhook"`
	RSS       int64         `json:"rss"`
	BrokerRSS int64         `json:"broker_rss,omitempty"`

	Count *bench.Count `json:"count,omitempty"` // of all webhooks, those of the warm-up too
}

// clean removes what the last measurement left.
func (b *ingressBench) clean() {
	if b.dir == "" {
		return
	}
	if err := os.RemoveAll(b.dir); err != nil {
		fmt.Fprintf(b.progress, "data left behind: %v\n", err)
	}
	b.dir = ""
}

// setup starts a program, with an empty data directory.
func (b *ingressBench) setup(ctx context.Context, v variant) (server, broker *process, stop func(), err error) {
	if b.dir, err = os.MkdirTemp(b.cmd.DataDir, "belay-bench-"); err != nil {
		return nil, nil, nil, fmt.Errorf("make a temporary data directory: %w", err)
	}
	stop = func() {
		if server != nil {
			server.stop()
		}
		if broker != nil {
			broker.stop()
		}
		b.clean()
	}
	args := []string{v.Program, "--durability", v.Durability, "--dir", b.dir}
	if b.cmd.Broker == separateBroker && v.Durability != "" {
		broker, err = start(ctx, b.dir, programBroker, "--durability", v.Durability, "--dir", b.dir)
		if err != nil {
			stop()
			return nil, nil, nil, err
		}
		args = append(args, "--broker", broker.NATS)
	}
	if server, err = start(ctx, b.dir, args...); err != nil {
		stop()
		return nil, nil, nil, err
	}
	return server, broker, stop, nil
}

// measure measures one program once.
func (b *ingressBench) measure(ctx context.Context, number int, v variant) (*round, error) {
	server, broker, stop, err := b.setup(ctx, v)
	if err != nil {
		return nil, err
	}
	defer stop()
	load, err := bench.NewGenerator(ctx, b.load(server.Addr))
	if err != nil {
		return nil, err
	}
	defer load.Close()
	if _, err := load.Run(ctx, b.cmd.Warmup); err != nil {
		return nil, err
	}
	before := b.meter(server, broker)
	phase, err := load.Run(ctx, b.cmd.Duration)
	if err != nil {
		return nil, err
	}
	after := b.meter(server, broker)
	if err := errors.Join(before.err, after.err, context.Cause(ctx)); err != nil {
		return nil, err
	}
	r := &round{
		Variant: v, Round: number, Offered: b.cmd.Rate,
		Sent: phase.Sent, Accepted: phase.Accepted, Rate: phase.AcceptedPerSecond(),
		Resent: phase.Resent, Recognized: phase.Recognized, Refused: phase.Refused, Failed: phase.Failed,
		P50: phase.Latency(.5), P99: phase.Latency(.99), P999: phase.Latency(.999),
	}
	if phase.Accepted == 0 {
		return nil, errors.Join(fmt.Errorf("nothing was accepted: answers %v, %d without an answer", phase.Refused, phase.Failed), phase.Err)
	}
	r.cost(before, after)
	if v.Durability != "" {
		count, err := load.Count(ctx, server.NATS, stream.In(0))
		if err != nil {
			return nil, err
		}
		r.Count = &count
	}
	fmt.Fprintf(b.progress, "round %d of %d  %-16s %7.0f accepted/s  p50 %v  p99 %v\n",
		number, b.cmd.Rounds, v, r.Rate, r.P50.Round(time.Microsecond), r.P99.Round(time.Microsecond))
	return r, nil
}

func (b *ingressBench) load(addr string) bench.Load {
	return bench.Load{
		Addr: addr, Hooks: b.hooks, Connections: b.cmd.Connections, Rate: b.cmd.Rate, Duplicates: b.cmd.duplicates,
	}
}

// meters is what all processes have used up.
type meters struct {
	server, broker, load usage
	err                  error
}

func (b *ingressBench) meter(server, broker *process) meters {
	m := meters{load: processUsage()}
	m.server, m.err = server.usage()
	if broker != nil {
		var err error
		m.broker, err = broker.usage()
		m.err = errors.Join(m.err, err)
	}
	return m
}

func (r *round) cost(before, after meters) {
	each := func(a, b usage) time.Duration { return (b.CPU - a.CPU) / time.Duration(r.Accepted) }
	r.CPU = each(before.server, after.server)
	r.BrokerCPU = each(before.broker, after.broker)
	r.LoadCPU = each(before.load, after.load)
	r.RSS, r.BrokerRSS = after.server.RSS, after.broker.RSS
	r.Flushes = float64(after.server.Flushes-before.server.Flushes) / float64(r.Accepted)
	if r.Variant.Durability == always {
		r.Flushes = 1 // the broker does not count them; it is what always means
	}
}

// profile measures Belay once more, while it takes a profile of itself.
func (b *ingressBench) profile(ctx context.Context) error {
	durability := relaxed
	if len(b.cmd.Durability) == 1 {
		durability = b.cmd.Durability[0]
	}
	server, _, stop, err := b.setup(ctx, variant{programBelay, durability})
	if err != nil {
		return err
	}
	defer stop()
	load, err := bench.NewGenerator(ctx, b.load(server.Addr))
	if err != nil {
		return err
	}
	defer load.Close()
	if _, err := load.Run(ctx, b.cmd.Warmup); err != nil {
		return err
	}
	got := make(chan error, 1)
	go func() { got <- server.profile(ctx, b.cmd.Duration, b.cmd.Profile) }()
	_, err = load.Run(ctx, time.Duration(seconds(b.cmd.Duration))*time.Second)
	return errors.Join(err, <-got)
}
