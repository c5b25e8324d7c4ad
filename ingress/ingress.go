// Package ingress is the door in: it receives webhooks over HTTP, has them
// verified, stores them, and only then answers 2xx.
//
// The path of a request is in handle.go, from top to bottom.
package ingress

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
)

// Config says where to listen.
type Config struct {
	// Addr is the address to listen on, such as :8080. Port 0 chooses one.
	Addr string
	// Prefix is the path before /{receiver}/{source}. Default: /webhooks; a
	// single slash puts the receivers at the root.
	Prefix string
	// BodyTimeout is how long a body may take; less where the source's budget is
	// shorter. Default: 10 s.
	BodyTimeout time.Duration
}

// Validate says which field is wrong, and what would be right.
func (c Config) Validate() error {
	switch {
	case c.Addr == "":
		return errors.New("ingress: addr is empty: want an address to listen on, such as :8080")
	case c.Prefix != "" && !strings.HasPrefix(c.Prefix, "/"):
		return fmt.Errorf("ingress: prefix is %q: want a path that begins with a slash, such as /webhooks", c.Prefix)
	case strings.ContainsAny(c.Prefix, "{}?#"):
		return fmt.Errorf("ingress: prefix is %q: want a plain path without any of {}?#", c.Prefix)
	case c.BodyTimeout < 0:
		return fmt.Errorf("ingress: body timeout is %s: want a duration above zero", c.BodyTimeout)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Prefix == "" {
		c.Prefix = "/webhooks"
	}
	c.Prefix = strings.TrimRight(c.Prefix, "/")
	if c.BodyTimeout == 0 {
		c.BodyTimeout = bodyTimeout
	}
	return c
}

// Store keeps an event durably before it returns; [stream.Broker] does.
type Store interface {
	StoreEvent(ctx context.Context, e *event.Event) (stream.Receipt, error)
}

// Server is the ingress.
type Server struct {
	config   Config
	sources  atomic.Pointer[sources]
	broker   Store
	log      *slog.Logger
	metrics  *metrics
	listener net.Listener
	http     *http.Server
}

// New binds the listener, so that connections wait for [Server.Run] from then
// on. It fails if the configuration is wrong, two sources have one name, or the
// address cannot be had.
func New(c Config, all []*receiver.Source, broker Store, log *slog.Logger, registry prometheus.Registerer) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Server{config: c.withDefaults(), broker: broker, log: log, metrics: newMetrics()}
	if err := s.Reload(all); err != nil {
		return nil, err
	}
	if err := s.metrics.register(registry); err != nil {
		return nil, err
	}
	var err error
	if s.listener, err = net.Listen("tcp", c.Addr); err != nil {
		return nil, fmt.Errorf("ingress: listen on %s: %w", c.Addr, err)
	}
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return s, nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Reload replaces the sources, all at once. Requests in hand keep theirs. It
// fails, and changes nothing, if two have one name.
func (s *Server) Reload(all []*receiver.Source) error {
	table := make(sources, len(all))
	for _, source := range all {
		if table[source.Name()] != nil {
			return fmt.Errorf("ingress: two sources are called %s: give one of them another id", source.Name())
		}
		table[source.Name()] = source
	}
	s.sources.Store(&table)
	return nil
}

// Run serves until ctx ends. Then it takes no more connections and waits for
// the requests in hand, each of which ends within its source's budget.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	select {
	case err := <-failed:
		if errors.Is(err, http.ErrServerClosed) {
			return nil // closed by Close
		}
		return fmt.Errorf("ingress: serve on %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	// The end of ctx is why we are here; the requests in hand get their time.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := s.http.Shutdown(drain); err != nil {
		_ = s.http.Close() // what is left is cut off; the error below tells
		return fmt.Errorf("ingress: requests were cut off after %s: %w", drainTimeout, err)
	}
	return nil
}

// Close frees the address at once and cuts off what is in hand. It is for a
// server that was never run; it is safe at any time, and twice.
func (s *Server) Close() error {
	err := errors.Join(s.http.Close(), s.listener.Close())
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// routes is where webhooks are received; anything else is not found.
func (s *Server) routes() http.Handler {
	// Without SkipClean the router would answer //webhooks with a redirect, which
	// senders do not follow, or follow with a GET.
	router := mux.NewRouter().SkipClean(true)
	router.NotFoundHandler = http.HandlerFunc(s.handle)
	router.HandleFunc(s.config.Prefix+"/{receiver}", s.handle)
	router.HandleFunc(s.config.Prefix+"/{receiver}/{source}", s.handle)
	return router
}

// sources maps names (github/default) to sources.
type sources map[string]*receiver.Source

// find returns the source of a URL; nil if there is none.
func (t sources) find(name, id string) *receiver.Source {
	if id == "" {
		id = "default"
	}
	if source := t[name+"/"+id]; source != nil {
		return source
	}
	if known, ok := receiver.Lookup(name); ok { // by an alias
		return t[known.Slug+"/"+id]
	}
	return nil
}
