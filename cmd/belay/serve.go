package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/alecthomas/kong"

	"github.com/belay-hooks/belay/console"
	"github.com/belay-hooks/belay/ingress"
	"github.com/belay-hooks/belay/internal/localnats"
	"github.com/belay-hooks/belay/internal/program"
	"github.com/belay-hooks/belay/internal/seal"
	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/outbox"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/service"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

type serveCmd struct {
	Dev      bool     `env:"-" help:"Try it out: temporary data, a demo configuration and a demo subscriber, where nothing else is given; this machine only."`
	Roles    []string `default:"ingress,worker,outbox,console" enum:"ingress,worker,outbox,console" help:"What to run, separated by commas."`
	DemoAddr string   `default:"127.0.0.1:8083" help:"With --dev: where the demo subscriber listens."`
	config.ConfigEnv
	config.DataEnv
	config.StoreEnv
	config.IngressEnv
	config.WorkerEnv
	config.OutboxEnv
	config.ConsoleEnv
	config.OpsEnv

	configGiven, dataGiven bool
}

// Help shows how it is used.
func (*serveCmd) Help() string {
	return `Everything in one process, and all it keeps in one directory:

  belay serve --dev
  belay serve --config belay.yaml --data-dir /var/lib/belay
  belay serve --roles ingress,worker

It reloads the configuration when the file changes, and on SIGHUP. The first
SIGINT or SIGTERM finishes what is in hand; a second one ends it at once.`
}

// AfterApply notes what was given, and keeps --dev on this machine.
func (c *serveCmd) AfterApply(k *kong.Context) error {
	c.configGiven, c.dataGiven = given(k, "config"), given(k, "data-dir")
	if !c.Dev {
		return nil
	}
	for name, addr := range map[string]*string{
		"ingress-addr": &c.IngressAddr, "outbox-addr": &c.OutboxAddr, "console-addr": &c.ConsoleAddr, "ops-addr": &c.OpsAddr,
	} {
		if !given(k, name) {
			*addr = "127.0.0.1" + *addr
		}
	}
	if c.LogFormat == "" {
		c.LogFormat = service.LogText
	}
	if c.APIKeys == "" {
		c.APIKeys = config.Redacted("dev_" + rand.Text())
	}
	return nil
}

func (c *serveCmd) runs(role string) bool { return slices.Contains(c.Roles, role) }

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
	apiKey  string // one of the outbox API; empty: there is none

	ingress *ingress.Server // nil where the role is not run, like the others
	worker  *worker.Worker
	outbox  *outbox.Server
	console *console.Server
}

// Run serves until it is told to stop.
func (c *serveCmd) Run(ctx context.Context, s streams) error {
	conf := program.ServiceConfig(c.OpsEnv)
	conf.LogTo = s.err
	base, err := service.New(conf)
	if err != nil {
		return err
	}
	defer base.Close()
	program.LimitMemory(base.Log)
	program.CollectLess()
	n := &node{Service: base, cmd: c, options: config.Options{Dev: c.Dev, LookupEnv: os.LookupEnv}}
	if err := n.configure(); err != nil {
		return err
	}
	stop, err := n.startBroker(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := n.addRoles(ctx); err != nil {
		return err
	}
	n.Add("welcome", n.welcome(s.out))
	return n.Run(ctx)
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

// diskReserve is what is kept free for the handling and the delivery of what was
// accepted: below it webhooks are refused with 503.
const diskReserve = 256 << 20

// startBroker starts the embedded broker on the data directory and sets it up.
func (n *node) startBroker(ctx context.Context) (stop func(), err error) {
	dir, leave, err := n.openData()
	if err != nil {
		return nil, err
	}
	n.dir = dir
	// What is answered 2xx is on the disk: by a flush that the writes of a moment
	// share or, where there is no such call, one for each. --dev promises nothing.
	durable := !n.cmd.Dev
	server, err := localnats.Start(ctx, localnats.Config{Dir: dir, SyncAlways: durable && !localnats.CanFlush, Logger: n.Log})
	if err != nil {
		leave()
		return nil, err
	}
	room := localnats.Room{Dir: dir, Reserve: diskReserve}
	conf := stream.Config{Name: "serve", InProcess: server, Room: room.Check, Logger: n.Log}
	if durable && localnats.CanFlush {
		conf.Flush = timedFlush(server.Flush, n.Ops.Registry())
	}
	stop = func() {
		if n.broker != nil {
			n.broker.Close()
		}
		server.Stop()
		leave()
	}
	if conf.Flush != nil {
		// A directory that cannot be flushed is told now, not with the first webhook.
		if err = conf.Flush(); err != nil {
			stop()
			return nil, fmt.Errorf("the data directory %s cannot be flushed, so nothing could be promised: %w", dir, err)
		}
	}
	n.Log.Info("data directory", "path", dir, "filesystem", localnats.FileSystem(dir), "durable", durable)
	if n.broker, err = stream.Connect(conf); err == nil {
		err = n.broker.Migrate(ctx, program.Topology(n.cmd.StoreEnv, 0, 1))
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("set up the data in %s: %w", dir, err)
	}
	n.Ops.AddReady("broker", n.broker.Ready)
	return stop, nil
}

// openData locks the data directory: the given one, or with --dev a temporary
// one that leave removes.
func (n *node) openData() (dir string, leave func(), err error) {
	dir = n.cmd.DataDir
	temporary := n.cmd.Dev && !n.cmd.dataGiven
	if temporary {
		if dir, err = os.MkdirTemp("", "belay-dev-"); err != nil {
			return "", nil, fmt.Errorf("make a temporary data directory: %w", err)
		}
	}
	locked, err := lock(dir)
	if err != nil {
		return "", nil, err
	}
	return dir, func() {
		err := locked.Close()
		if temporary {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		if err != nil {
			n.Log.Warn("data directory not left as it should be", "error", err)
		}
	}, nil
}

// keyset is what the secrets of subscriptions are encrypted with: the given one, or
// one that is made in the data directory.
func (n *node) keyset() (*seal.Box, error) {
	if n.cmd.Keyset != "" {
		return seal.Load(n.cmd.Keyset)
	}
	return seal.Ensure(filepath.Join(n.dir, "keyset.json"))
}

// addRoles adds what is run, in the order in which it is needed: what an event
// reaches last is started first, and stopped last.
func (n *node) addRoles(ctx context.Context) (err error) {
	if n.cmd.runs("outbox") {
		conf, err := outbox.FromEnv(n.cmd.OutboxEnv)
		if err != nil {
			return err
		}
		conf.Dev = n.cmd.Dev
		if len(conf.APIKeys) > 0 {
			n.apiKey = conf.APIKeys[0]
		}
		if conf.Keyset, err = n.keyset(); err != nil {
			return err
		}
		if n.outbox, err = outbox.New(conf, n.broker, n.Log, n.Ops.Registry()); err != nil {
			return err
		}
		n.Add("keys of the outbox", program.WatchKeys(n.cmd.APIKeys, n.Log, n.outbox.SetAPIKeys))
		n.Add("outbox", n.outbox)
	}
	if n.cmd.runs("worker") {
		if n.worker, err = newWorker(ctx, n); err != nil {
			return err
		}
		n.Add("sweeper", service.Func(func(ctx context.Context) error {
			n.broker.Sweep(ctx)
			return nil
		}))
		n.Add("worker", n.worker)
	}
	if n.cmd.runs("console") {
		keys, err := program.Keys(n.cmd.ConsoleKeys)
		if err != nil {
			return err
		}
		n.console, err = console.New(console.Config{Addr: n.cmd.ConsoleAddr, Keys: keys, Metrics: n.Ops.Registry()}, n.broker, n.Log)
		if err != nil {
			return err
		}
		n.console.SetSources(names(n.sources))
		n.Add("keys of the console", program.WatchKeys(n.cmd.ConsoleKeys, n.Log, n.console.SetKeys))
		n.Add("console", n.console)
	}
	if n.cmd.runs("ingress") {
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
	}
	if !n.cmd.Dev || n.cmd.configGiven {
		n.Add("configuration", program.Watch(n.file, n.options, n.Log, n.reload))
	}
	return nil
}

// names are those of the sources, each receiver/id.
func names(all []*receiver.Source) (list []string) {
	for _, s := range all {
		list = append(list, s.Name())
	}
	return list
}
