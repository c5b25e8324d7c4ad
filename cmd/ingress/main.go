// Command ingress receives webhooks, verifies them and stores them on a NATS
// server. It is configured by the environment: see config.Env… and the README.
package main

import (
	"context"

	"github.com/belay-hooks/belay/ingress"
	"github.com/belay-hooks/belay/internal/program"
	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/service"
)

type environment struct {
	program.Env
	config.IngressEnv
}

func main() {
	var env environment
	program.Main("ingress", &env, &env.Env, func(p *program.Program) error {
		program.CollectLess()
		return add(p, env)
	})
}

func add(p *program.Program, env environment) error {
	file, err := p.File()
	if err != nil {
		return err
	}
	all, err := sources.Build(file)
	if err != nil {
		return err
	}
	program.WarnOfSecrets(file, p.Log)
	off := standing.NewSwitches(standing.Off)
	server, err := ingress.New(ingress.Config{
		Addr: env.IngressAddr, Prefix: env.Prefix, PublicURL: env.PublicURL, TrustedProxies: env.TrustedProxies,
		CertFile: env.TLSCert, KeyFile: env.TLSKey, MaxBytes: env.MaxBytesInFlight, MaxRequests: env.MaxRequestsInFlight, Off: off,
	}, all, p.Broker, p.Log, p.Ops.Registry())
	if err != nil {
		return err
	}
	p.Ops.AddReady("ingress", server.Ready)
	// Without a broker the door is open too, and says 503.
	p.Add("broker", p.WhenOpen(service.Func(func(ctx context.Context) error {
		off.Follow(ctx, p.Broker, p.Log)
		return nil
	})))
	p.Add("configuration", p.Watch(file, func(_ context.Context, next *config.File) error {
		all, err := sources.Build(next)
		if err != nil {
			return err
		}
		return server.Reload(all)
	}))
	p.Add("ingress", server)
	return nil
}
