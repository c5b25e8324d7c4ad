package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

type benchCmd struct {
	Ingress  benchIngressCmd  `cmd:"" help:"Measure how webhooks are received and stored, beside the barest programs that could."`
	Worker   benchWorkerCmd   `cmd:"" help:"Measure how stored events are handled, beside a bare loop that takes and acknowledges them."`
	Outbox   benchOutboxCmd   `cmd:"" help:"Measure how notifications are delivered, beside a bare loop that posts and stores a line."`
	Pipeline benchPipelineCmd `cmd:"" help:"Measure the whole way, from the webhook to the subscriber, beside the barest programs that could."`
	Target   benchTargetCmd   `cmd:"" hidden:"" help:"What is measured; belay bench starts it."`
}

// The durabilities that can be measured.
const (
	relaxed = "relaxed" // survives the death of the process
	barrier = "barrier" // flushed before the answer, one flush for all that wait: what belay serve does
	always  = "always"  // flushed before the answer, one by one
)

// benchFlags are those of every measurement, each with times of its own.
type benchFlags struct {
	Rounds   int           `default:"5" env:"-" help:"How often each is measured, in turns."`
	Warmup   time.Duration `default:"${warmup}" env:"-" help:"How long each works before it is measured."`
	Duration time.Duration `default:"${duration}" env:"-" help:"How long each is measured in a round."`
	DataDir  string        `placeholder:"DIR" env:"-" help:"Where the data is kept while it lasts: on the file system to measure. Default: the directory for temporary files."`
	Profile  string        `placeholder:"FILE" env:"-" help:"Write a CPU profile of Belay at work."`
	JSON     bool          `name:"json" env:"-" help:"Print everything measured as JSON."`
}

func (f *benchFlags) validate() error {
	const longest = 10 * time.Minute
	switch {
	case f.Rounds < 1 || f.Rounds > 100:
		return fmt.Errorf("--rounds is %d, want 1 to 100", f.Rounds)
	case f.Duration <= 0 || f.Duration > longest || f.Warmup < 0 || f.Warmup > longest:
		return fmt.Errorf("--duration and --warmup are %s and %s, want at most %s", f.Duration, f.Warmup, longest)
	}
	return nil
}

// turn is the order of a round: what comes first or last has its turn at the other
// end in the next one.
func turn[P any](programs []P, number int) []P {
	programs = slices.Clone(programs)
	if number%2 == 0 {
		slices.Reverse(programs)
	}
	return programs
}

// stopped is the error of a measurement, which an end that was asked for explains.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("stopped before everything was measured")
	}
	return err
}
