// Command console serves the operators' API: dead letters, redrives, replays, and
// what every chain has done with an event. It is configured by the environment.
package main

import (
	"context"

	"github.com/belay-hooks/belay/console"
	"github.com/belay-hooks/belay/internal/program"
	"github.com/belay-hooks/belay/pkg/config"
)

type environment struct {
	program.Env
	config.ConsoleEnv
}

func main() {
	var env environment
	program.Main("console", &env, &env.Env, func(p *program.Program) error {
		keys, err := program.Keys(env.ConsoleKeys)
		if err != nil {
			return err
		}
		server, err := console.New(console.Config{
			Addr: env.ConsoleAddr, Keys: keys, Metrics: p.Ops.Registry(), Grace: p.Grace(),
		}, p.Broker, p.Log)
		if err != nil {
			return err
		}
		p.Add("keys", program.WatchKeys(env.ConsoleKeys, p.Log, server.SetKeys))
		file, err := p.FileIfAny()
		if err != nil {
			return err
		}
		if file != nil {
			// What it knows of the sources besides their events is their names.
			server.SetSources(names(file))
			p.Add("configuration", p.Watch(file, func(_ context.Context, next *config.File) error {
				server.SetSources(names(next))
				return nil
			}))
		}
		p.Add("console", p.WhenOpen(server))
		return nil
	})
}

// names are those of the sources, each receiver/id.
func names(file *config.File) (list []string) {
	for i := range file.Sources {
		list = append(list, file.Sources[i].Name())
	}
	return list
}
