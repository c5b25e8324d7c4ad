// Package localnats runs a NATS server with JetStream inside the process: for
// belay serve and for tests. It is the only package that imports the server.
package localnats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Config says where the server keeps its data.
type Config struct {
	// Dir is the data directory; it is created if it is missing.
	Dir string
	// SyncAlways writes every message to the disk before it is confirmed, one
	// after another. Without it what was confirmed survives the death of the
	// process and, once [Server.Flush] has returned, that of the machine.
	SyncAlways bool
	// Host and Port are where to listen for clients of other processes; port -1
	// chooses one. No host: in-process connections only.
	Host string
	Port int
	// MaxStore bounds what is stored, in bytes; 0: by the disk.
	MaxStore int64
	// Logger is told of the server's warnings and errors. Required.
	Logger *slog.Logger
}

// Server is a running embedded server.
type Server struct {
	*server.Server
	dir *os.File
}

// startTimeout bounds the start, of which reading the stored messages for
// deduplication is the long part.
const startTimeout = 2 * time.Minute

// Start starts a server and returns once it can be used.
func Start(ctx context.Context, c Config) (*Server, error) {
	opts := &server.Options{
		ServerName:        "belay",
		DontListen:        c.Host == "",
		Host:              c.Host,
		Port:              c.Port,
		JetStream:         true,
		StoreDir:          c.Dir,
		SyncAlways:        c.SyncAlways,
		JetStreamMaxStore: c.MaxStore,
		NoSigs:            true, // signals are the program's
		NoLog:             true, // what it logs goes through SetLoggerV2 below
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("set up the embedded NATS server in %s: %w", c.Dir, err)
	}
	s.SetLoggerV2(logger{c.Logger}, false, false, false)
	s.Start()
	for deadline := time.Now().Add(startTimeout); ; {
		if s.ReadyForConnections(100*time.Millisecond) && s.JetStreamEnabled() {
			dir, err := os.Open(c.Dir)
			if err != nil {
				s.Shutdown()
				return nil, fmt.Errorf("open the data directory: %w", err)
			}
			return &Server{s, dir}, nil
		}
		switch {
		case ctx.Err() != nil:
			s.Shutdown()
			return nil, context.Cause(ctx)
		case !s.Running():
			return nil, fmt.Errorf("the embedded NATS server stopped at once: "+
				"is another process using the data directory %s?", c.Dir)
		case time.Now().After(deadline):
			s.Shutdown()
			return nil, errors.New("the embedded NATS server did not start in time")
		}
	}
}

// Port is the port that the server listens on; 0 if it does not listen.
func (s *Server) Port() int {
	if addr, ok := s.Addr().(*net.TCPAddr); ok {
		return addr.Port
	}
	return 0
}

// CanFlush says whether [Server.Flush] works on this operating system. Where it
// does not, use [Config.SyncAlways].
const CanFlush = canFlush

// Flush puts on stable storage what the server has confirmed so far. It flushes
// the whole file system that the data directory lies on.
func (s *Server) Flush() error { return flush(s.dir) }

// Stop ends the server and returns once its files are closed.
func (s *Server) Stop() {
	s.Shutdown()
	s.WaitForShutdown()
	s.dir.Close() // was only read
}

// logger hands the server's messages to slog. What the server says about its
// daily work is of no interest beside Belay's own log.
type logger struct{ *slog.Logger }

func (l logger) Noticef(format string, v ...any) { l.log(slog.LevelDebug, format, v...) }
func (l logger) Warnf(format string, v ...any)   { l.log(slog.LevelWarn, format, v...) }
func (l logger) Fatalf(format string, v ...any)  { l.log(slog.LevelError, format, v...) }
func (l logger) Errorf(format string, v ...any)  { l.log(slog.LevelError, format, v...) }
func (l logger) Debugf(format string, v ...any)  { l.log(slog.LevelDebug, format, v...) }
func (l logger) Tracef(format string, v ...any)  { l.log(slog.LevelDebug, format, v...) }

func (l logger) log(level slog.Level, format string, v ...any) {
	l.Log(context.Background(), level, "nats: "+fmt.Sprintf(format, v...))
}
