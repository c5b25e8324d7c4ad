package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/belay-hooks/belay/internal/bench"
	"github.com/belay-hooks/belay/pkg/stream"
)

// targetGrace is how long a measured process may take to stop.
const targetGrace = 10 * time.Second

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
	seconds := max(int(b.cmd.Duration.Seconds()), 1)
	got := make(chan error, 1)
	go func() {
		got <- fetch(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", server.Ops, seconds), b.cmd.Profile)
	}()
	_, err = load.Run(ctx, time.Duration(seconds)*time.Second)
	return errors.Join(err, <-got)
}

// fetch writes what is at the URL to a file.
func fetch(ctx context.Context, url, file string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}

// A process is a belay bench target.
type process struct {
	place
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	kill context.CancelFunc
	log  *os.File
}

// start starts a target and returns once it can be used.
func start(ctx context.Context, dir string, args ...string) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, args[0]+".log"))
	if err != nil {
		return nil, err
	}
	// It outlives ctx by the time that it needs to stop, and not this process.
	alive, kill := context.WithCancel(context.WithoutCancel(ctx))
	p := &process{kill: kill, log: log}
	p.cmd = exec.CommandContext(alive, program, append([]string{"bench", "target"}, args...)...)
	p.cmd.Stderr = log
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the program to measure: %w", err)
	}
	if err := p.read(&p.place); err != nil {
		p.stop()
		return nil, fmt.Errorf("start the program to measure: %w: %s", err, lastLine(log.Name()))
	}
	return p, nil
}

// read reads the next line of the process, within a time.
func (p *process) read(into any) error {
	late := time.AfterFunc(targetGrace, p.kill)
	defer late.Stop()
	if !p.out.Scan() {
		return errors.Join(errors.New("it ended, or did not answer"), p.out.Err())
	}
	return json.Unmarshal(p.out.Bytes(), into)
}

// usage is what the process has used up.
func (p *process) usage() (u usage, err error) {
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		return u, fmt.Errorf("ask the measured program: %w: %s", err, lastLine(p.log.Name()))
	}
	if err := p.read(&u); err != nil {
		return u, fmt.Errorf("ask the measured program: %w: %s", err, lastLine(p.log.Name()))
	}
	return u, nil
}

// stop ends the process, by force if it does not end in time.
func (p *process) stop() {
	_ = p.in.Close() // that is what tells it
	late := time.AfterFunc(targetGrace, p.kill)
	_ = p.cmd.Wait() // how it ends is of no interest any more
	late.Stop()
	p.kill()
	_ = p.log.Close()
}

// lastLine is the end of a log, for an error.
func lastLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(text[max(0, len(text)-500):])
}
