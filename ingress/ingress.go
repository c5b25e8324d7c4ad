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
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/belay-hooks/belay/internal/standing"
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
	// MaxBytes bounds what the requests in hand may take of the memory, in bytes:
	// their bodies, and 16 KiB for each. What is over it is answered 503. Default:
	// a quarter of the memory limit of the process (GOMEMLIMIT), 256 MiB if it has
	// none.
	MaxBytes int64
	// MaxRequests bounds how many requests may be in hand, and half of how many
	// connections there may be. Default: 4096.
	MaxRequests int
	// TrustedProxies are the networks of the proxies whose X-Forwarded-For, -Proto
	// and -Host are believed. Default: none.
	TrustedProxies []netip.Prefix
	// PublicURL is what senders call instead of the server's address, such as
	// https://hooks.example.com, for receivers whose senders sign it. Default: as
	// the request says, or a trusted proxy.
	PublicURL string
	// Off are the sources that are switched off: they are answered 410. Default: none.
	Off *standing.Switches
	// CertFile and KeyFile are PEM files of the certificates and the key to serve
	// TLS with. They are read again when they change. Default: no TLS.
	CertFile, KeyFile string
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
	case c.MaxBytes < 0 || c.MaxBytes > 0 && c.MaxBytes < minMaxBytes:
		return fmt.Errorf("ingress: max bytes in flight is %d: want at least %d", c.MaxBytes, minMaxBytes)
	case c.MaxRequests < 0:
		return fmt.Errorf("ingress: max requests in flight is %d: want at least 1", c.MaxRequests)
	case (c.CertFile == "") != (c.KeyFile == ""):
		return errors.New("ingress: only one of the TLS certificate and the key is given: want both, or none")
	}
	_, err := c.publicURL()
	return err
}

// publicURL is the public URL without a final slash; nil if there is none.
func (c Config) publicURL() (*url.URL, error) {
	if c.PublicURL == "" {
		return nil, nil
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("ingress: the public URL is none: want one such as https://hooks.example.com, without user, query and fragment")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

func (c Config) withDefaults() Config {
	if c.Prefix == "" {
		c.Prefix = "/webhooks"
	}
	c.Prefix = strings.TrimRight(c.Prefix, "/")
	if c.BodyTimeout == 0 {
		c.BodyTimeout = bodyTimeout
	}
	if c.Off == nil {
		c.Off = standing.NewSwitches(standing.Off)
	}
	return c
}

// Store keeps an event durably before it returns, with the question of a sender
// that waits for a chain's answer; [stream.Broker] does. After that the memory of the
// body is another request's.
type Store interface {
	Ask(chain string) (*stream.Question, error)
	StoreAsking(ctx context.Context, e *event.Event, q *stream.Question) (stream.Receipt, error)
}

// Server is the ingress.
type Server struct {
	config    Config
	routes    *mux.Router
	sources   atomic.Pointer[sources]
	health    *health
	room      *room
	proxies   proxies
	public    *url.URL // nil: as the request says
	log       *slog.Logger
	metrics   *metrics
	diagnoses *rate.Limiter
	listener  net.Listener
	http      *http.Server
}

// New binds the listener, so that connections wait for [Server.Run] from then
// on. It fails if the configuration is wrong, two sources have one name, or the
// address cannot be had.
func New(c Config, all []*receiver.Source, broker Store, log *slog.Logger, registry prometheus.Registerer) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Server{config: c.withDefaults(), health: &health{Store: broker}, room: newRoom(c), proxies: c.TrustedProxies, log: log}
	s.routes = routes(s.config.Prefix)
	s.metrics = newMetrics(s.room)
	s.diagnoses = rate.NewLimiter(diagnosesInAll, diagnosesInAll)
	s.public, _ = c.publicURL() // validated above
	if err := s.Reload(all); err != nil {
		return nil, err
	}
	if err := s.metrics.register(registry); err != nil {
		return nil, err
	}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.handle),
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnState:         s.room.connection,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	if c.CertFile != "" {
		cert, err := newCertificate(c.CertFile, c.KeyFile, log)
		if err != nil {
			return nil, fmt.Errorf("ingress: %w", err)
		}
		s.http.TLSConfig = cert.config()
	}
	listener, err := net.Listen("tcp", c.Addr)
	if err != nil {
		return nil, fmt.Errorf("ingress: %w; give another BELAY_INGRESS_ADDR if it is taken", err)
	}
	s.listener = aheadListener{listener.(*net.TCPListener)}
	return s, nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends. Then it takes no more connections and waits for
// the requests in hand, each of which ends within its source's budget.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.serve() }()
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

func (s *Server) serve() error {
	if s.http.TLSConfig != nil {
		return s.http.ServeTLS(s.listener, "", "") // the configuration has the certificate
	}
	return s.http.Serve(s.listener)
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

// routes are where webhooks are received; anything else is not found.
func routes(prefix string) *mux.Router {
	// Without SkipClean the router would answer //webhooks with a redirect, which
	// senders do not follow, or follow with a GET.
	router := mux.NewRouter().SkipClean(true)
	router.Path(prefix + "/{receiver}")
	router.Path(prefix + "/{receiver}/{source}")
	return router
}

// find is the source that a request is for; nil if there is none. The router is only
// asked: to serve the request it would copy it twice.
func (s *Server) find(r *http.Request) *source {
	var match mux.RouteMatch
	if !s.routes.Match(r, &match) {
		return nil
	}
	return s.sources.Load().find(match.Vars["receiver"], match.Vars["source"])
}
