package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/belay-hooks/belay/internal/bench"
	"github.com/belay-hooks/belay/pkg/stream"
)

type benchPipelineCmd struct {
	Connections int     `default:"64" env:"-" help:"How many webhooks are under way at once, each on a connection of its own."`
	Rate        float64 `env:"-" help:"How many webhooks are sent a second. 0: as many as are answered, and what waits then is waited for."`
	Size        int     `default:"4096" env:"-" help:"The size of a body in bytes."`
	Concurrency int     `default:"64" env:"-" help:"How many events are handled, and how many attempts made, at once."`
	benchFlags  `kong:"embed,set='warmup=1s',set='duration=3s'"`
}

// Help shows how it is used.
func (*benchPipelineCmd) Help() string {
	return `Measures the whole way: a signed webhook comes in, is stored, handled by a chain
that notifies, fanned out to a subscription, and posted to it with a signature. The
attempt is recorded. Beside it stands the least that could do that: a program that
verifies and stores, and one that takes, posts, stores a line and has its
acknowledgement confirmed. All are processes of their own:

  belay bench pipeline
  belay bench pipeline --rate 100     # how long it takes from end to end

The times of one machine mean little on another: compare what was measured in
one run.`
}

// Validate bounds what is asked for.
func (c *benchPipelineCmd) Validate() error {
	switch {
	case c.Connections < 1 || c.Connections > 4096:
		return fmt.Errorf("--connections is %d, want 1 to 4096", c.Connections)
	case c.Rate < 0 || c.Rate > 1e5:
		return fmt.Errorf("--rate is %g, want 0 to 100000", c.Rate)
	case c.Size < 100 || c.Size > 512<<10:
		return fmt.Errorf("--size is %d, want 100 to %d", c.Size, 512<<10)
	case c.Concurrency < 1 || c.Concurrency > 1000:
		return fmt.Errorf("--concurrency is %d, want 1 to 1000", c.Concurrency)
	}
	return c.validate()
}

// The pipelines that are measured.
const (
	pipelineBare  = "bare"
	pipelineBelay = "belay"
)

// Run measures.
func (c *benchPipelineCmd) Run(ctx context.Context, s streams) error {
	var rounds []workRound
	for number := 1; number <= c.Rounds; number++ {
		for _, pipeline := range turn([]string{pipelineBare, pipelineBelay}, number) {
			r, err := c.measure(ctx, pipeline)
			if err := stopped(ctx, err); err != nil {
				return fmt.Errorf("measure %s: %w", pipeline, err)
			}
			r.Program, r.Round = pipeline, number
			r.progress(s.err, c.Rounds, "webhooks")
			rounds = append(rounds, r)
		}
	}
	return c.print(s.out, rounds)
}

// measure measures a pipeline on a broker of its own.
func (c *benchPipelineCmd) measure(ctx context.Context, pipeline string) (r workRound, err error) {
	dir, err := os.MkdirTemp(c.DataDir, "belay-bench-")
	if err != nil {
		return r, fmt.Errorf("make a temporary data directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p := workers{}
	if p.broker, err = start(ctx, dir, programBroker, "--durability", relaxed, "--dir", dir); err != nil {
		return r, err
	}
	defer p.broker.stop()
	if p.sink, err = start(ctx, dir, programSink); err != nil {
		return r, err
	}
	defer p.sink.stop()
	for _, program := range c.programs(pipeline, p) {
		server, err := start(ctx, dir, program...)
		if err != nil {
			return r, err
		}
		defer server.stop()
		p.servers = append(p.servers, server)
		if program[0] == programOutbox {
			if err := subscribe(ctx, server, p.sink.Addr, 1); err != nil {
				return r, err
			}
		}
	}
	return c.send(ctx, p)
}

// programs are those of a pipeline with their flags, the one that is sent to first.
func (c *benchPipelineCmd) programs(pipeline string, p workers) [][]string {
	atOnce := []string{"--broker", p.broker.NATS, "--concurrency", fmt.Sprint(c.Concurrency)}
	with := func(program string, more ...string) []string {
		return append(append([]string{program}, atOnce...), more...)
	}
	if pipeline == pipelineBare {
		return [][]string{with(programPublish), with(programPost, "--sink", p.sink.Addr, "--offered", stream.In(0))}
	}
	return [][]string{with(programBelay), with(programWorker, "--notify"), with(programOutbox)}
}

// send sends webhooks for a while, until all have arrived; twice, and tells what came
// of the second time.
func (c *benchPipelineCmd) send(ctx context.Context, p workers) (r workRound, err error) {
	hook, err := c.hook()
	if err != nil {
		return r, err
	}
	load, err := bench.NewGenerator(ctx, bench.Load{
		Addr: p.servers[0].Addr, Hooks: []*bench.Hook{hook}, Connections: c.Connections, Rate: c.Rate,
	})
	if err != nil {
		return r, err
	}
	defer load.Close()
	accepted := uint64(0)
	var before, after workMeters
	var arrived *work
	for _, d := range []time.Duration{c.Warmup, c.Duration} {
		if before, err = p.meter(); err != nil {
			return r, err
		}
		phase, err := load.Run(ctx, d)
		if err != nil {
			return r, err
		}
		accepted += phase.Accepted
		if arrived, err = p.arrived(); err != nil {
			return r, err
		}
		if err := p.await(ctx, accepted); err != nil {
			return r, err
		}
		if after, err = p.meter(); err != nil {
			return r, err
		}
	}
	r, err = between(before, after)
	r.P50, r.P99 = 0, 0
	if c.Rate > 0 { // else what they wait tells nothing
		r.P50, r.P99 = arrived.P50, arrived.P99
	}
	return r, err
}

// await waits until so many have arrived.
func (p workers) await(ctx context.Context, accepted uint64) error {
	const longest = time.Minute
	for deadline := time.Now().Add(longest); time.Now().Before(deadline); {
		arrived, err := p.arrived()
		if err != nil || arrived.Handled-arrived.Twice >= accepted {
			return err
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("of %d webhooks that were accepted, not all have arrived after %v", accepted, longest)
}

// hook is a webhook of GitHub's that tells when it was sent.
func (c *benchPipelineCmd) hook() (*bench.Hook, error) {
	source, err := benchSource("github")
	if err != nil {
		return nil, err
	}
	const id = "b3e1a9d0-7f1c-11ef-8000-000000000000"
	return bench.NewHook(bench.HookConfig{
		Source: source, Path: "/webhooks/github", Body: bench.Stamp(0, time.Now(), c.Size), ID: id, Stamped: true,
		Signature: "X-Hub-Signature-256",
		Header: http.Header{
			"Content-Type": {"application/json"}, "User-Agent": {"GitHub-Hookshot/044aadd"}, "X-Github-Event": {"push"}, "X-Github-Delivery": {id},
		},
	})
}

func (c *benchPipelineCmd) print(out io.Writer, rounds []workRound) error {
	totals := []workTotal{total(pipelineBare, pipelineBare, rounds), total(pipelineBelay, pipelineBare, rounds)}
	how := fmt.Sprintf("%d connections, as fast as they are answered", c.Connections)
	if c.Rate > 0 {
		how = fmt.Sprintf("%g webhooks a second", c.Rate)
	}
	load := fmt.Sprintf("%s, of %d bytes, %d at once, %d rounds of %s after %s", how, c.Size, c.Concurrency, c.Rounds, c.Duration, c.Warmup)
	return workResult{thisMachine(), load, rounds, totals}.print(out, c.JSON, "webhooks", "a webhook's being sent to its arrival at the subscriber")
}
