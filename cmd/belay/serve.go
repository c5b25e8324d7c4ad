package main

import (
	"context"
	"os"
	"slices"

	"github.com/alecthomas/kong"

	"github.com/belay-hooks/belay/internal/program"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/service"
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
	return nil
}

func (c *serveCmd) runs(role string) bool { return slices.Contains(c.Roles, role) }

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
