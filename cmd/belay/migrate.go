package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/belay-hooks/belay/internal/program"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/service"
	"github.com/belay-hooks/belay/pkg/stream"
)

type migrateCmd struct {
	config.NatsEnv
	config.StoreEnv
	config.LogEnv
	Shards   int           `default:"0" help:"Over how many streams events are spread. Fixed when they are first made. 0: as it is, or 1."`
	Replicas int           `default:"1" help:"How many servers of the cluster hold each stream: 1, 3 or 5."`
	Timeout  time.Duration `default:"1m" help:"How long to wait for the server."`
}

// Help shows how it is used.
func (*migrateCmd) Help() string {
	return `Run it before the programs start, and again after an upgrade: it changes only
what differs, and never deletes.

  belay migrate --nats-url nats://127.0.0.1:4222
  belay migrate --nats-url nats://a:4222,nats://b:4222,nats://c:4222 --shards 3 --replicas 3`
}

// Run sets the broker up.
func (c *migrateCmd) Run(ctx context.Context, s streams) error {
	log, err := service.Logger(s.err, cmp.Or(c.LogFormat, service.LogText), c.LogLevel)
	if err != nil {
		return &exitError{err, exitUsage}
	}
	conf := program.BrokerConfig(c.NatsEnv, "migrate", log)
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout,
		fmt.Errorf("no answer from %s within %s: is the server running, with JetStream (nats-server -js)?", conf.Addr(), c.Timeout))
	defer cancel()
	broker, err := stream.Connect(conf)
	if err != nil {
		return err
	}
	defer broker.Close()
	if err := waitReady(ctx, broker, func() {
		fmt.Fprintf(s.err, "waiting for the NATS server at %s, at most %s\n", conf.Addr(), c.Timeout)
	}); err != nil {
		return err
	}
	if err := broker.Migrate(ctx, program.Topology(c.StoreEnv, c.Shards, c.Replicas)); err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, ctx.Err()) {
			return cause
		}
		return fmt.Errorf("migrate: %w", err)
	}
	_, err = fmt.Fprintf(s.out, "streams and buckets are as this version needs them: %d shard(s), %d replica(s)\n", broker.Shards(), c.Replicas)
	return err
}

// waitReady returns once the broker is connected. It calls waiting once, if it
// is not at first.
func waitReady(ctx context.Context, broker *stream.Broker, waiting func()) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for first := true; broker.Ready(ctx) != nil; first = false {
		if first {
			waiting()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}
