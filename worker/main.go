package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/belay-hooks/belay/internal/program"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/service"
)

// Main is the whole main function of a worker with handlers in Go: it runs the
// given chains, and those of the configuration file if there is one, over the
// events that are stored on a NATS server, until the process is told to stop. It
// is configured by the environment, as the program cmd/worker is, which is a
// Main without chains of its own.
func Main(chains ...handler.Chain) {
	var env struct {
		program.Env
		config.WorkerEnv
		config.ChainsEnv
	}
	program.Main("worker", &env, &env.Env, func(p *program.Program) error {
		program.CollectLess()
		load := p.File
		if len(chains) > 0 {
			load = p.FileIfAny
		}
		file, err := load()
		if err != nil {
			return err
		}
		m := &mainProgram{Program: p, chains: chains, only: env.Chains, maxBytes: env.MaxBytesInHand}
		// A new chain begins with what comes once its consumers are there: who waits
		// for the worker to be ready before he opens the door misses nothing.
		p.Ops.AddReady("chains", m.ready)
		// What is wrong with the chains is told now, and not once the broker is there.
		if _, err := m.all(file); err != nil {
			return err
		}
		p.Add("worker", p.WhenOpen(service.Func(func(ctx context.Context) error { return m.run(ctx, file) })))
		return nil
	})
}

// mainProgram is a worker that follows its configuration file.
type mainProgram struct {
	*program.Program
	chains   []handler.Chain // those in Go
	only     []string        // the names of those to run; none: all
	maxBytes int64
	setUp    atomic.Bool
}

func (m *mainProgram) ready(context.Context) error {
	if !m.setUp.Load() {
		return errors.New("the chains are not set up at the broker yet")
	}
	return nil
}

// all are the chains in Go and those of the file, which may be nil: those of them
// that this worker is to run.
func (m *mainProgram) all(file *config.File) ([]handler.Chain, error) {
	all, err := m.known(file)
	if err != nil {
		return nil, err
	}
	return selectChains(all, m.only)
}

// selectChains are the chains with these names, or all of them without any.
func selectChains(all []handler.Chain, names []string) ([]handler.Chain, error) {
	if len(names) == 0 {
		return all, nil
	}
	var selected []handler.Chain
	for _, name := range names {
		name = strings.TrimSpace(name)
		i := slices.IndexFunc(all, func(c handler.Chain) bool { return c.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("BELAY_CHAINS names the chain %q, which there is not: want one or more of %s", name, chainNames(all))
		}
		selected = append(selected, all[i])
	}
	return selected, Validate(selected)
}

func chainNames(all []handler.Chain) string {
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

func (m *mainProgram) known(file *config.File) ([]handler.Chain, error) {
	if file == nil {
		return m.chains, Validate(m.chains)
	}
	chains, err := Chains(file, m.Broker, m.Log)
	if err != nil {
		return nil, file.Locate(err)
	}
	for _, c := range m.chains {
		c.SwitchOff = append(file.SwitchedOffBy(c.From), c.SwitchOff...)
		chains = append(chains, c)
	}
	return chains, Validate(chains)
}

func (m *mainProgram) run(ctx context.Context, file *config.File) error {
	chains, err := m.all(file)
	if err != nil {
		return err
	}
	c := Config{Broker: m.Broker, Logger: m.Log, Metrics: m.Ops.Registry(), MaxBytes: m.maxBytes, Grace: m.Grace()}
	if file != nil {
		c.Generation = file.Generation
	}
	w, err := New(ctx, c, chains...)
	if err != nil {
		return err
	}
	m.setUp.Store(true)
	group := service.Group{Grace: 2 * m.Grace()} // that of the program is shorter
	group.Add("chains", w)
	group.Add("sweeper", service.Func(func(ctx context.Context) error {
		m.Broker.Sweep(ctx)
		return nil
	}))
	if file == nil {
		return group.Run(ctx)
	}
	group.Add("configuration", m.Watch(file, func(ctx context.Context, next *config.File) error {
		chains, err := m.all(next)
		if err != nil {
			return err
		}
		return w.Reload(ctx, next.Generation, chains...)
	}))
	return group.Run(ctx)
}
