package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/belay-hooks/belay/internal/localnats"
	"github.com/belay-hooks/belay/internal/program"
	"github.com/belay-hooks/belay/internal/seal"
	"github.com/belay-hooks/belay/pkg/stream"
)

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
