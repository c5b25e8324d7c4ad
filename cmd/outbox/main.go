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
		keyset, err := program.Keyset(env.OutboxEnv)
		if err != nil {
			return err
		}
		server, err := outbox.New(outbox.Config{
			Addr: env.OutboxAddr, APIKeys: env.APIKeys.List(), Keyset: keyset,
			VerifyURLs: env.VerifyURLs, MaxSubscriptionBytes: env.MaxSubscriptionBytes,
			AllowHTTP: env.AllowHTTP, AllowNetworks: env.AllowNetworks,
		}, p.Broker, p.Log, p.Ops.Registry())
		if err != nil {
			return err
		}
		p.Add("outbox", p.WhenOpen(server))
		return nil
	})
}
