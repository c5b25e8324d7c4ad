package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// readyTimeout bounds all checks of one question for readiness. Kubernetes
	// gives up after a second unless told otherwise.
	readyTimeout = 900 * time.Millisecond
	// opsHeaderTimeout bounds how long a client may take to ask.
	opsHeaderTimeout = 5 * time.Second
	// opsCloseTimeout bounds how long answers in flight are waited for at the end:
	// the port serves machines that ask again.
	opsCloseTimeout = time.Second
)

// Ops serves what those who run a program ask it, on a port of its own:
//
//	/healthz      200 while the process serves at all
//	/readyz       200 if every check passes and it is not draining, else 503; JSON with a reason for each check
//	/metrics      Prometheus
//	/debug/pprof/ profiles
//
// It has no authentication. Keep the port inside.
type Ops struct {
	registry *prometheus.Registry
	listener net.Listener
	draining atomic.Bool

	mu     sync.Mutex
	checks map[string]func(context.Context) error
}

// NewOps listens on the address (:0 for any free port). Nothing is answered
// before [Ops.Run].
func NewOps(addr string) (*Ops, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("operations: %w; give another BELAY_OPS_ADDR if it is taken", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	return &Ops{registry: registry, listener: listener, checks: map[string]func(context.Context) error{}}, nil
}

// Addr is where it listens.
func (o *Ops) Addr() net.Addr { return o.listener.Addr() }

// Registry is where the program's metrics are registered.
func (o *Ops) Registry() *prometheus.Registry { return o.registry }

// AddReady adds a check. It must return within the context's deadline, and may
// be called at any time, several times at once. Its error is shown to whoever
// asks. A check of the same name is replaced.
func (o *Ops) AddReady(name string, check func(context.Context) error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.checks[name] = check
}

// Draining makes the program unready for good: it is about to stop.
func (o *Ops) Draining() { o.draining.Store(true) }

// Ready reports whether every check passes and the program is not draining.
func (o *Ops) Ready(ctx context.Context) bool { return o.check(ctx).Ready }

// Run serves until the context ends.
func (o *Ops) Run(ctx context.Context) error {
	server := &http.Server{Handler: o.handler(), ReadHeaderTimeout: opsHeaderTimeout}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(o.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve operations: %w", err)
	case <-ctx.Done():
	}
	// The context that ended is why we are here; answers get a second of their own.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), opsCloseTimeout)
	defer cancel()
	if err := server.Shutdown(closing); err != nil {
		server.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve operations: %w", err)
	}
	return nil
}

// Close frees the port of an Ops that was never run.
func (o *Ops) Close() error {
	if err := o.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (o *Ops) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", o.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready  bool              `json:"ready"`
	Checks map[string]string `json:"checks"` // "ok" or what is wrong, by name
}

func (o *Ops) ready(w http.ResponseWriter, r *http.Request) {
	answer := o.check(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer) // the client has gone: nobody to tell
}

// check runs all checks at once, so that a slow one does not starve the others.
// One that ignores its deadline counts as failed and is not waited for.
func (o *Ops) check(ctx context.Context) readiness {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	o.mu.Lock()
	checks := maps.Clone(o.checks)
	o.mu.Unlock()

	answer := readiness{Ready: true, Checks: map[string]string{}}
	results := map[string]chan error{}
	for name, check := range checks {
		result := make(chan error, 1)
		results[name] = result
		go func() { result <- check(ctx) }()
	}
	for name, result := range results {
		err := errors.New("no answer in time")
		select {
		case err = <-result:
		case <-ctx.Done():
			select { // what was there at the deadline still counts
			case err = <-result:
			default:
			}
		}
		answer.Checks[name] = "ok"
		if err != nil {
			answer.Ready, answer.Checks[name] = false, err.Error()
		}
	}
	if o.draining.Load() {
		answer.Ready, answer.Checks["draining"] = false, "the program is stopping"
	}
	return answer
}
