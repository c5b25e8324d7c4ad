// Package testbroker gives a test a real broker of its own: an embedded NATS
// server on a temporary directory, with Belay's topology.
package testbroker

import (
	"context"
	"log/slog"
	"testing"

	"github.com/belay-hooks/belay/internal/localnats"
	"github.com/belay-hooks/belay/pkg/stream"
)

// Server is a broker that a test can stop and start again.
type Server struct {
	t   testing.TB
	dir string
	*localnats.Server
	port     int
	maxStore int64
}

// Start starts a broker that ends with the test. It listens on a port of its
// own, which stays the same over [Server.Restart].
func Start(t testing.TB) *Server {
	t.Helper()
	return StartSmall(t, 0)
}

// StartSmall is [Start] with a store that is full after so many bytes.
func StartSmall(t testing.TB, maxStore int64) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), port: -1, maxStore: maxStore}
	s.start()
	t.Cleanup(func() { s.Stop() })
	return s
}

func (s *Server) start() {
	s.t.Helper()
	server, err := localnats.Start(s.t.Context(), localnats.Config{
		Dir: s.dir, Host: "127.0.0.1", Port: s.port, MaxStore: s.maxStore, Logger: Logger(s.t),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.Server = server
	s.port = server.Port()
}

// Dir is where it keeps its data.
func (s *Server) Dir() string { return s.dir }

// Restart stops the broker and starts it again on the same data.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.start()
}

// Connect opens a connection that ends with the test.
func (s *Server) Connect() *stream.Broker {
	s.t.Helper()
	b, err := stream.Connect(stream.Config{URL: s.ClientURL(), Name: "test", Logger: Logger(s.t)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(b.Close)
	return b
}

// New starts a broker with Belay's topology in one shard and connects to it.
func New(t testing.TB) *stream.Broker {
	t.Helper()
	return NewSharded(t, 1)
}

// NewSharded is [New] with a number of shards.
func NewSharded(t testing.TB, shards int) *stream.Broker {
	t.Helper()
	b := Start(t).Connect()
	if err := b.Migrate(context.WithoutCancel(t.Context()), stream.Topology{Shards: shards}); err != nil {
		t.Fatal(err)
	}
	return b
}

// Logger writes to the test's output, which is shown when it fails.
func Logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}
