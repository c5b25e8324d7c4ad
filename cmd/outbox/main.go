// Command outbox delivers notifications to subscribers, and serves the API that
// both come in by. It is configured by the environment.
package main

import (
	"github.com/belay-hooks/belay/internal/program"
	"github.com/belay-hooks/belay/outbox"
	"github.com/belay-hooks/belay/pkg/config"
)

type environment struct {
	program.Env
	config.OutboxEnv
}

func main() {
	var env environment
	program.Main("outbox", &env, &env.Env, func(p *program.Program) error {
		program.CollectLess()
		conf, err := outbox.FromEnv(env.OutboxEnv)
		if err != nil {
			return err
		}
		if conf.Keyset, err = program.Keyset(env.OutboxEnv); err != nil {
			return err
		}
		conf.Grace = p.Grace() / 2
		server, err := outbox.New(conf, p.Broker, p.Log, p.Ops.Registry())
		if err != nil {
			return err
		}
		p.Add("keys", program.WatchKeys(env.APIKeys, p.Log, server.SetAPIKeys))
		p.Add("outbox", p.WhenOpen(server))
		return nil
	})
}
