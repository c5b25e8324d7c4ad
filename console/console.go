package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/belay-hooks/belay/internal/jobs"
	"github.com/belay-hooks/belay/internal/redrive"
	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/stream"
)

// Server is a console. See [New].
type Server struct {
	config   Config
	keys     atomic.Pointer[rest.Keys]
	listener net.Listener
	log      *slog.Logger
	broker   *stream.Broker
	progress standing.Log
	state    *stream.Bucket
	desk     *redrive.Desk
	metrics  *chainMetrics
	sources  atomic.Pointer[[]string] // of the configuration: receiver/id
	board    *jobs.Board
}

// New returns a console whose listener is bound: with port 0, [Server.Addr] tells
// which port it is. The broker's topology must be there when Run is called.
func New(c Config, b *stream.Broker, log *slog.Logger) (*Server, error) {
	c = c.withDefaults()
	s := &Server{
		config: c, broker: b, log: log,
		progress: standing.NewLog(b), state: b.Bucket(stream.State), desk: redrive.New(b),
		board: jobs.NewBoard(b), metrics: newChainMetrics(c.Metrics),
	}
	keys, err := rest.ParseKeys(c.Keys, defaultOperator)
	if err != nil {
		return nil, fmt.Errorf("console: BELAY_CONSOLE_KEYS: %w", err)
	}
	s.keys.Store(&keys)
	addr := c.Addr
	if len(keys) == 0 {
		if addr, err = loopback(addr); err != nil {
			return nil, err
		}
	}
	if s.listener, err = net.Listen("tcp", addr); err != nil {
		return nil, fmt.Errorf("console: %w; give another BELAY_CONSOLE_ADDR if it is taken", err)
	}
	if len(keys) == 0 {
		log.Info("the console has no keys, so only this machine reaches it; BELAY_CONSOLE_KEYS gives it some", "addr", s.Addr().String())
	}
	return s, nil
}

// Addr is the address that the API listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// SetKeys replaces the keys of [Config.Keys], for the requests that come from then on.
// There must be one: a console that everybody reaches asks who comes. Where it fails
// those before hold.
func (s *Server) SetKeys(texts []string) error {
	keys, err := rest.ParseKeys(texts, defaultOperator)
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	if len(keys) == 0 {
		return errors.New("console: no keys, want one or more")
	}
	s.keys.Store(&keys)
	return nil
}

// Close frees the listener of a console that is not run. After Run it does nothing.
func (s *Server) Close() { _ = s.listener.Close() }

// Run serves the API and drives the jobs until ctx ends, and returns once what was
// begun has ended: at most the configured grace later. Jobs go on where the next
// console finds them.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	serving, stop := context.WithCancel(ctx)
	defer stop()
	var driving sync.WaitGroup
	driving.Go(func() { s.drive(serving) })
	driving.Go(func() { s.measureAll(serving) })
	defer driving.Wait()
	defer stop()

	if err := rest.Serve(ctx, s.listener, s.routes(), s.config.Grace, s.log); err != nil {
		return fmt.Errorf("console: %w", err)
	}
	return nil
}

// audit writes the line that says who changed what.
func (s *Server) audit(what, who string, args ...any) {
	s.log.Info("operator: "+what, append([]any{"by", who}, args...)...)
}
