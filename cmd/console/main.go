// Command console serves the operators' API: dead letters, redrives, replays, and
// what every chain has done with an event. It is configured by the environment.
package main

import (
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
		server, err := console.New(console.Config{Addr: env.ConsoleAddr, Keys: env.ConsoleKeys.List()}, p.Broker, p.Log)
		if err != nil {
			return err
		}
		p.Add("console", p.WhenOpen(server))
		return nil
	})
}
