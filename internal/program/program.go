// Package program is what the mains of ingress, worker and outbox share: the
// environment, the ops port, and a connection to a broker that may come later.
package program

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/service"
	"github.com/belay-hooks/belay/pkg/stream"
)

// Env is the environment that every program of a cluster reads.
type Env struct {
	config.ConfigEnv
	config.NatsEnv
	config.OpsEnv
}

// Program is one role at work.
type Program struct {
	*service.Service
	// Broker is the connection. It may not be up yet.
	Broker *stream.Broker

	env    Env
	opened atomic.Bool
}

// Main runs the program and ends the process. It fills env, a pointer to a struct
// that embeds [Env] (which shared points to), from the environment; add adds the
// role's components.
func Main(name string, env any, shared *Env, add func(*Program) error) {
	service.Main(name, func(ctx context.Context) error {
		if err := config.LoadEnv(env); err != nil {
			return err
		}
		return run(ctx, name, *shared, add)
	})
}

func run(ctx context.Context, name string, env Env, add func(*Program) error) error {
	s, err := service.New(ServiceConfig(env.OpsEnv))
	if err != nil {
		return err
	}
	defer s.Close()
	LimitMemory(s.Log)
	// What handlers in Go log without a logger of their own looks like the rest.
	slog.SetDefault(s.Log)
	conf := BrokerConfig(env.NatsEnv, name, s.Log)
	broker, err := stream.Connect(conf)
	if err != nil {
		return err
	}
	defer broker.Close()
	p := &Program{Service: s, Broker: broker, env: env}
	s.Ops.AddReady("broker", p.ready)
	if err := add(p); err != nil {
		return err
	}
	s.Log.Info("program started", "program", name, "ops", s.Ops.Addr().String(), "broker", conf.Addr())
	return s.Run(ctx)
}

// ServiceConfig is how the environment says a program is run.
func ServiceConfig(env config.OpsEnv) service.Config {
	return service.Config{
		OpsAddr: env.OpsAddr, LogFormat: env.LogFormat, LogLevel: env.LogLevel,
		ShutdownDelay: env.ShutdownDelay, ShutdownGrace: env.ShutdownGrace,
	}
}

// forTheRest is how much of the time to stop is left to those parts of a program that
// stop after the one that takes the longest. An open pull alone takes two seconds to end.
const forTheRest = 5 * time.Second

// Grace is how long a part of a program may take to finish what it has in hand, of
// the time that the environment gives all of them.
func Grace(env config.OpsEnv) time.Duration {
	all := cmp.Or(env.ShutdownGrace, service.DefaultGrace)
	return all - min(forTheRest, all/2)
}

// Grace is [Grace] of the program's environment.
func (p *Program) Grace() time.Duration { return Grace(p.env.OpsEnv) }

// Topology is what the environment says the broker keeps.
func Topology(env config.StoreEnv, shards, replicas int) stream.Topology {
	return stream.Topology{
		Shards: shards, Replicas: replicas,
		Window: env.DedupWindow, Retention: env.Retention, History: env.History, MaxBytes: env.MaxBacklog << 20,
	}
}

// BrokerConfig is where the environment says the broker is.
func BrokerConfig(env config.NatsEnv, name string, log *slog.Logger) stream.Config {
	return stream.Config{
		URL: env.NatsURL, Name: name, Creds: env.NatsCreds, NKey: env.NatsNkey, CA: env.NatsCA, Logger: log,
	}
}

func (p *Program) ready(ctx context.Context) error {
	if !p.opened.Load() {
		return errors.New("waiting for the broker and its streams")
	}
	return p.Broker.Ready(ctx)
}

// WhenOpen runs a component once the broker and its streams are there.
func (p *Program) WhenOpen(c service.Component) service.Component {
	return service.Func(func(ctx context.Context) error {
		if err := p.open(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		return c.Run(ctx)
	})
}

func (p *Program) open(ctx context.Context) error {
	if err := p.Broker.Open(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while waiting
		}
		return err
	}
	p.opened.Store(true)
	return nil
}

// Options is how configuration files are read outside of serve --dev.
var Options = config.Options{LookupEnv: os.LookupEnv}

// File loads the configuration, with every receiver under its own name.
func (p *Program) File() (*config.File, error) {
	f, err := config.Load(p.env.Config, Options)
	if err != nil {
		return nil, err
	}
	return f, sources.Canonical(f)
}

// FileIfAny is [Program.File] where the file may be missing; then it is nil.
func (p *Program) FileIfAny() (*config.File, error) {
	f, err := p.File()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

// WarnOfSecrets logs which secrets of the file are not there. It is no reason not
// to start: a file may come later, and the other sources can be served.
func WarnOfSecrets(f *config.File, log *slog.Logger) {
	if err := f.CheckSecrets(); err != nil {
		log.Warn("webhooks are refused for want of a secret", "error", err)
	}
}

// Watch is a component that hands each new version of the configuration to
// apply.
func (p *Program) Watch(f *config.File, apply func(context.Context, *config.File) error) service.Component {
	return Watch(f, Options, p.Log, apply)
}

// Watch is [Program.Watch] for a program that loaded the file with these options.
func Watch(f *config.File, opt config.Options, log *slog.Logger, apply func(context.Context, *config.File) error) service.Component {
	return service.Func(func(ctx context.Context) error {
		f.Watch(ctx, opt, service.Hangups(ctx), log, func(next *config.File) error {
			if err := sources.Canonical(next); err != nil {
				return err
			}
			return apply(ctx, next)
		})
		return nil
	})
}
