package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"

	"github.com/belay-hooks/belay/console"
	"github.com/belay-hooks/belay/ingress"
	"github.com/belay-hooks/belay/internal/program"
	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/outbox"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/service"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

// A node is Belay in one process.
type node struct {
	*service.Service
	cmd     *serveCmd
	options config.Options
	broker  *stream.Broker
	file    *config.File
	sources []*receiver.Source
	demo    *demo  // nil without --dev
	dir     string // the data directory
	apiKey  string // the demo's own for the outbox API: those that are given are printed nowhere

	ingress *ingress.Server // nil where the role is not run, like the others
	worker  *worker.Worker
	outbox  *outbox.Server
	console *console.Server
}

// configure loads the configuration: the given one, or with --dev the demo's.
func (n *node) configure() error {
	var err error
	if n.cmd.Dev {
		if n.demo, err = newDemo(n.cmd.DemoAddr, n.Log); err != nil {
			return err
		}
		n.Add("demo", n.demo)
	}
	if n.cmd.Dev && !n.cmd.configGiven {
		n.file, err = demoFile(n.demo.configuration(), n.options)
	} else {
		n.file, err = config.Load(n.cmd.Config, n.options)
	}
	if err != nil {
		if !n.cmd.configGiven && errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w; to try Belay out without one: belay serve --dev", err)
		}
		return err
	}
	if err := sources.Canonical(n.file); err != nil {
		return err
	}
	if n.sources, err = sources.Build(n.file); err != nil {
		return err
	}
	if n.cmd.runs("ingress") {
		program.WarnOfSecrets(n.file, n.Log)
	}
	return nil
}

// addRoles adds what is run, in the order in which it is needed: what an event
// reaches last is started first, and stopped last.
func (n *node) addRoles(ctx context.Context) error {
	for _, role := range []struct {
		name string
		add  func(context.Context) error
	}{
		{"outbox", n.addOutbox}, {"worker", n.addWorker}, {"console", n.addConsole}, {"ingress", n.addIngress},
	} {
		if !n.cmd.runs(role.name) {
			continue
		}
		if err := role.add(ctx); err != nil {
			return err
		}
	}
	if !n.cmd.Dev || n.cmd.configGiven {
		n.Add("configuration", program.Watch(n.file, n.options, n.Log, n.reload))
	}
	return nil
}

func (n *node) addOutbox(context.Context) error {
	conf, err := outbox.FromEnv(n.cmd.OutboxEnv)
	if err != nil {
		return err
	}
	if conf.Dev = n.cmd.Dev; conf.Dev {
		n.apiKey = "dev_" + rand.Text()
		conf.APIKeys = append(conf.APIKeys, n.apiKey)
	}
	conf.Grace = program.Grace(n.cmd.OpsEnv) / 2
	if conf.Keyset, err = n.keyset(); err != nil {
		return err
	}
	if n.outbox, err = outbox.New(conf, n.broker, n.Log, n.Ops.Registry()); err != nil {
		return err
	}
	n.Add("keys of the outbox", program.WatchKeys(n.cmd.APIKeys, n.Log, n.outbox.SetAPIKeys))
	n.Add("outbox", n.outbox)
	return nil
}

func (n *node) addWorker(ctx context.Context) (err error) {
	if n.worker, err = newWorker(ctx, n); err != nil {
		return err
	}
	n.Add("sweeper", service.Func(func(ctx context.Context) error {
		n.broker.Sweep(ctx)
		return nil
	}))
	n.Add("worker", n.worker)
	return nil
}

func (n *node) addConsole(context.Context) error {
	keys, err := program.Keys(n.cmd.ConsoleKeys)
	if err != nil {
		return err
	}
	if n.console, err = console.New(console.Config{
		Addr: n.cmd.ConsoleAddr, Keys: keys, Metrics: n.Ops.Registry(), Grace: program.Grace(n.cmd.OpsEnv),
	}, n.broker, n.Log); err != nil {
		return err
	}
	n.console.SetSources(names(n.sources))
	n.Add("keys of the console", program.WatchKeys(n.cmd.ConsoleKeys, n.Log, n.console.SetKeys))
	n.Add("console", n.console)
	return nil
}

func (n *node) addIngress(context.Context) (err error) {
	off := standing.NewSwitches(standing.Off)
	n.Add("switches", service.Func(func(ctx context.Context) error {
		off.Follow(ctx, n.broker, n.Log)
		return nil
	}))
	n.ingress, err = ingress.New(ingress.Config{
		Addr: n.cmd.IngressAddr, Prefix: n.cmd.Prefix, PublicURL: n.cmd.PublicURL, TrustedProxies: n.cmd.TrustedProxies,
		CertFile: n.cmd.TLSCert, KeyFile: n.cmd.TLSKey, MaxBytes: n.cmd.MaxBytesInFlight, MaxRequests: n.cmd.MaxRequestsInFlight, Off: off,
	}, n.sources, n.broker, n.Log, n.Ops.Registry())
	if err != nil {
		return err
	}
	n.Ops.AddReady("ingress", n.ingress.Ready)
	n.Add("ingress", n.ingress)
	return nil
}

// names are those of the sources, each receiver/id.
func names(all []*receiver.Source) (list []string) {
	for _, s := range all {
		list = append(list, s.Name())
	}
	return list
}
