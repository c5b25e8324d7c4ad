package main

import (
	"context"
	"log/slog"

	"github.com/belay-hooks/belay/internal/program"
	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/worker"
)

// newWorker makes the worker of the configuration that the node starts with.
func newWorker(ctx context.Context, n *node) (*worker.Worker, error) {
	chains, err := worker.Chains(n.file, n.broker, n.Log)
	if err != nil {
		return nil, n.file.Locate(err)
	}
	return worker.New(ctx, worker.Config{
		Broker: n.broker, Generation: n.file.Generation, Logger: n.Log, Metrics: n.Ops.Registry(),
		MaxBytes: n.cmd.MaxBytesInHand, Grace: program.Grace(n.cmd.OpsEnv),
	}, chains...)
}

// reload takes on a new version of the configuration, or refuses it as a whole:
// everything is made before anything is replaced.
func (n *node) reload(ctx context.Context, next *config.File) error {
	all, err := sources.Build(next)
	if err != nil {
		return err
	}
	chains, err := worker.Chains(next, n.broker, n.Log)
	if err != nil {
		return err
	}
	if n.worker != nil {
		// First the chains: a new source's events must find theirs.
		if err := n.worker.Reload(ctx, next.Generation, chains...); err != nil {
			return err
		}
	}
	if n.console != nil {
		n.console.SetSources(names(all))
	}
	if n.ingress != nil {
		return n.ingress.Reload(all)
	}
	return nil
}

// checkChains tells what the worker would say about the chains of a file.
func checkChains(f *config.File) error {
	_, err := worker.Chains(f, nil, slog.New(slog.DiscardHandler))
	return f.Locate(err)
}
