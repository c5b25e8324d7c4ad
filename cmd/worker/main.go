// Command worker runs the chains of a configuration file over the events that
// are stored on a NATS server. It is configured by the environment. A worker with
// handlers in Go is a main of one's own: see package worker.
package main

import (
	"context"

	"github.com/belay-hooks/belay/cmd/internal/program"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/service"
	"github.com/belay-hooks/belay/worker"
)

func main() {
	var env program.Env
	program.Main("worker", &env, &env, func(p *program.Program) error {
		file, err := p.File()
		if err != nil {
			return err
		}
		// What is wrong with the chains is told now, and not once the broker is there.
		if _, err := worker.Chains(file, p.Broker, p.Log); err != nil {
			return file.Locate(err)
		}
		p.Add("worker", p.WhenOpen(service.Func(func(ctx context.Context) error {
			return work(ctx, p, file)
		})))
		return nil
	})
}

// work runs the chains, and those of each new version of the file.
func work(ctx context.Context, p *program.Program, file *config.File) error {
	chains, err := worker.Chains(file, p.Broker, p.Log)
	if err != nil {
		return file.Locate(err)
	}
	w, err := worker.New(ctx, worker.Config{
		Broker: p.Broker, Generation: file.Generation, Logger: p.Log, Metrics: p.Ops.Registry(),
	}, chains...)
	if err != nil {
		return err
	}
	var group service.Group
	group.Add("chains", w)
	group.Add("configuration", p.Watch(file, func(ctx context.Context, next *config.File) error {
		chains, err := worker.Chains(next, p.Broker, p.Log)
		if err != nil {
			return err
		}
		return w.Reload(ctx, next.Generation, chains...)
	}))
	return group.Run(ctx)
}
