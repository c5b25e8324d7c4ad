package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/belay-hooks/belay/ingress"
	"github.com/belay-hooks/belay/internal/ceiling"
	"github.com/belay-hooks/belay/internal/localnats"
	"github.com/belay-hooks/belay/internal/program"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/service"
	"github.com/belay-hooks/belay/pkg/stream"
)

// benchTargetCmd is a process that is measured: one of Belay's, a bare program, or a
// broker. It says where it is on standard output, and answers each line of
// standard input with what it has used up. When that ends, it ends.
type benchTargetCmd struct {
	Program    string `arg:""`
	Durability string `env:"-"`
	Dir        string `env:"-"`
	Broker     string `env:"-" help:"The URL of a broker of another process."`

	Concurrency int           `env:"-" help:"How many events are handled at once."`
	Takes       time.Duration `env:"-" help:"How long it takes to handle one."`

	Sink    string `env:"-" help:"The address of the program that is posted to."`
	Size    int    `env:"-" help:"The size of a body in bytes."`
	Offered string `env:"-" help:"The stream of which the messages are posted, and nothing else."`
	Notify  bool   `env:"-" help:"Handle events by a notification."`
}

// place is where a target is.
type place struct {
	Addr string `json:"addr,omitempty"`
	Ops  string `json:"ops,omitempty"`
	NATS string `json:"nats,omitempty"`
}

// usage is what a process has used up since it was started.
type usage struct {
	CPU     time.Duration `json:"cpu"`
	RSS     int64         `json:"rss"` // now, in bytes; 0 if it is not known
	Flushes uint64        `json:"flushes"`
	Work    *work         `json:"work,omitempty"` // of a program that handles events
}

// A target is what runs in the process.
type target struct {
	*service.Service
	cmd     *benchTargetCmd
	place   place
	flushes atomic.Uint64
	tally   *tally            // nil where nothing is handled
	server  *localnats.Server // nil without a broker of its own
	closers []func()
}

// Run serves until standard input ends.
func (c *benchTargetCmd) Run(ctx context.Context, s streams) error {
	base, err := service.New(service.Config{OpsAddr: loopback, LogTo: s.err})
	if err != nil {
		return err
	}
	defer base.Close()
	t := &target{Service: base, cmd: c, place: place{Ops: base.Ops.Addr().String(), NATS: c.Broker}}
	defer t.close()
	if err := t.set(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := json.NewEncoder(s.out)
	if err := out.Encode(t.place); err != nil {
		return err
	}
	go func() {
		defer cancel()
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			if out.Encode(t.usage()) != nil {
				return // who asked has gone
			}
		}
	}()
	return base.Run(ctx)
}

// loopback is any free port, for this machine only.
const loopback = "127.0.0.1:0"

func (t *target) usage() usage {
	u := processUsage()
	u.Flushes = t.flushes.Load()
	if t.tally != nil {
		u.Work = t.tally.tell()
	}
	return u
}

func (t *target) close() {
	for i := len(t.closers) - 1; i >= 0; i-- {
		t.closers[i]()
	}
}

// set makes what is asked for.
func (t *target) set(ctx context.Context) error {
	switch t.cmd.Program {
	case programSink:
		return t.sink()
	case programHTTP:
		return t.serve(ceiling.HTTP())
	case programHMAC:
		return t.serve(byProvider(ceiling.HTTPWithHMAC([]byte(benchSecret)), ceiling.StripeWithHMAC([]byte(benchSecret))))
	}
	if t.cmd.Broker == "" {
		if err := t.startBroker(ctx); err != nil {
			return err
		}
	}
	switch t.cmd.Program {
	case programBroker:
		return nil
	case programPublish:
		return t.servePublish()
	case programBelay:
		return t.serveBelay(ctx)
	case programConsume:
		return t.consume()
	case programWorker:
		return t.work(ctx)
	case programPost:
		return t.post()
	case programOutbox:
		return t.outbox(ctx)
	}
	return fmt.Errorf("there is no program %q", t.cmd.Program)
}

// startBroker starts a broker as serve does, and sets it up. It listens, so that
// what is stored can be counted.
func (t *target) startBroker(ctx context.Context) (err error) {
	t.server, err = localnats.Start(ctx, localnats.Config{
		Dir: filepath.Join(t.cmd.Dir, "data"), SyncAlways: t.cmd.Durability == always, Host: "127.0.0.1", Port: -1, Logger: t.Log,
	})
	if err != nil {
		return err
	}
	t.closers = append(t.closers, t.server.Stop)
	t.place.NATS = t.server.ClientURL()
	broker, err := stream.Connect(stream.Config{Name: "migrate", InProcess: t.server, Logger: t.Log})
	if err != nil {
		return err
	}
	defer broker.Close()
	return broker.Migrate(ctx, stream.Topology{})
}

// flush is a counted flush of the data.
func (t *target) flush() error {
	t.flushes.Add(1)
	return t.server.Flush()
}

func (t *target) serveBelay(ctx context.Context) error {
	conf := stream.Config{Name: "ingress", URL: t.cmd.Broker, Logger: t.Log}
	if t.server != nil {
		conf.InProcess = t.server
	}
	program.CollectLess() // as belay serve and the program ingress do
	if t.cmd.Durability == barrier {
		conf.Flush = t.flush
	}
	broker, err := stream.Connect(conf)
	if err != nil {
		return err
	}
	t.closers = append(t.closers, broker.Close)
	if err := broker.Open(ctx); err != nil {
		return err
	}
	var all []*receiver.Source
	for _, provider := range []string{"github", "stripe"} {
		source, err := benchSource(provider)
		if err != nil {
			return err
		}
		all = append(all, source)
	}
	server, err := ingress.New(ingress.Config{Addr: loopback}, all, broker, t.Log, t.Ops.Registry())
	if err != nil {
		return err
	}
	t.place.Addr = server.Addr().String()
	t.Add("ingress", server)
	return nil
}

func (t *target) servePublish() error {
	connect := func() (*ceiling.Publisher, error) { return ceiling.Connect(t.cmd.Broker) }
	if t.server != nil {
		connect = func() (*ceiling.Publisher, error) { return ceiling.ConnectInProcess(t.server) }
	}
	p, err := connect()
	if err != nil {
		return err
	}
	t.closers = append(t.closers, p.Close)
	handler := byProvider(
		ceiling.HTTPWithHMACAndPublish([]byte(benchSecret), p, "belay.in.0.github.default.push"),
		ceiling.StripeWithHMACAndPublish([]byte(benchSecret), p, "belay.in.0.stripe.default.charge.succeeded"),
	)
	if t.cmd.Durability == barrier {
		handler = ceiling.Flushed(handler, t.flush)
	}
	return t.serve(handler)
}

// byProvider is the least of a router.
func byProvider(github, stripe http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/webhooks/stripe" {
			stripe.ServeHTTP(w, r)
			return
		}
		github.ServeHTTP(w, r)
	})
}

// serve serves a bare program.
func (t *target) serve(handler http.Handler) error {
	listener, err := net.Listen("tcp", loopback)
	if err != nil {
		return err
	}
	t.place.Addr = listener.Addr().String()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	t.Add("bare", service.Func(func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { server.Close() })()
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}))
	return nil
}
