// Package outbox is the sending half of Belay: it keeps subscriptions, takes
// notifications, makes one delivery of a notification for each subscription
// that wants it, and posts it, signed, until the subscriber has it.
//
//	POST /v1/notifications ──▶ NOTIFY ──▶ fanout ──▶ OUT_i ──▶ sender ──▶ subscriber
//	                                        │          ▲          │
//	POST /v1/subscriptions ──▶ bucket ──▶ cache        └─ parked ─┤
//	                                                              ├──▶ ATTEMPTS
//	                                                              └──▶ DEAD
package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/belay-hooks/belay/internal/deadline"
	"github.com/belay-hooks/belay/internal/jobs"
	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/routine"
	"github.com/belay-hooks/belay/pkg/stream"
)

// senderName is the name of the consumer of each OUT stream.
const senderName = "sender"

// What a process holds of an OUT stream besides the attempts that run: deliveries
// that wait for a moment, are being settled, or come with one request.
const (
	heldBesides = 1024
	askedFor    = 256
)

// fanoutSlots is how many notifications are fanned out at once. They share
// batches, so many cost the broker hardly more than one.
const fanoutSlots = 64

// Server is an outbox. See [New].
type Server struct {
	config        Config
	broker        *stream.Broker
	log           *slog.Logger
	keys          atomic.Pointer[rest.Keys] // of the configuration
	listener      net.Listener
	subscriptions *subscriptions
	types         catalogue
	ring          keyring
	matcher       *matcher
	client        *client
	lanes         *lanes
	backlog       *backlog
	history       history
	board         *jobs.Board
	metrics       *metrics
}

// New returns an outbox whose API listener is bound: with port 0, [Server.Addr]
// tells which port it is. The broker's topology must be there when Run is called.
func New(c Config, b *stream.Broker, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	c = c.withDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		config: c,
		broker: b,
		log:    log,
		subscriptions: &subscriptions{
			bucket: b.Bucket(stream.Subscriptions),
			vault:  vault{box: c.Keyset},
			most:   c.MaxSubscriptionBytes,
		},
		client:  newClient(c),
		matcher: newMatcher(),
		lanes:   newLanes(c.Attempts, c.Concurrency),
		backlog: newBacklog(b, c.MaxParked, log),
	}
	s.subscriptions.cache = newCache(
		func(e stream.Entry) (*Subscription, error) { return s.subscriptions.vault.decode(e.Value, e.Revision) },
		func(key string, err error) {
			log.Error("a stored subscription cannot be read; nothing is sent to it", "key", key, "error", err)
		})
	s.board = jobs.NewBoard(b)
	s.history = history{broker: b, subscriptions: s.subscriptions, log: log}
	s.ring.bad = func(key string, err error) {
		log.Error("a stored API key cannot be read; it is refused", "key", key, "error", err)
	}
	if err := s.SetAPIKeys(c.APIKeys); err != nil {
		return nil, err
	}
	if c.Keyset == nil {
		log.Warn("no keyset: the secrets of subscriptions are stored in the clear; set BELAY_KEYSET")
	}
	var err error
	if s.metrics, err = newMetrics(reg, s.subscriptions.cache.size, s.lanes.counts); err != nil {
		return nil, fmt.Errorf("outbox: register metrics: %w", err)
	}
	if s.listener, err = net.Listen("tcp", c.Addr); err != nil {
		return nil, fmt.Errorf("outbox: %w; give another BELAY_OUTBOX_ADDR if it is taken", err)
	}
	return s, nil
}

// Addr is the address that the API listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// SetAPIKeys replaces the keys of [Config.APIKeys], for the requests that come from
// then on. Where it fails those before hold.
func (s *Server) SetAPIKeys(texts []string) error {
	keys, err := rest.ParseKeys(texts, defaultTenant)
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	s.keys.Store(&keys)
	return nil
}

// Ready tells why the outbox cannot work yet; nil once it knows all subscriptions.
func (s *Server) Ready(context.Context) error {
	if !s.subscriptions.cache.isLoaded() {
		return errors.New("the subscriptions are not loaded yet")
	}
	return nil
}

// Close frees the listener of an outbox that is not run. After Run it does nothing.
func (s *Server) Close() { _ = s.listener.Close() }

// Run serves the API, fans out and sends until ctx ends, and returns once what
// was begun is settled or given back: at most the configured grace later. It
// fails if the listener or the set-up of the consumers does.
func (s *Server) Run(ctx context.Context) error {
	defer s.client.close()
	defer s.Close()
	// The watch ends last: requests and fan-outs that are still running need it.
	watch, stopWatch := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	watching.Go(func() { s.subscriptions.bucket.Watch(watch, s.subscriptions.cache.watcher()) })
	watching.Go(func() { s.broker.Bucket(stream.State).WatchFiltered(watch, typeKeys+"*", s.types.watcher()) })
	watching.Go(func() { s.broker.Bucket(stream.Keys).Watch(watch, s.ring.watcher()) })
	defer watching.Wait()
	defer stopWatch()

	serving, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	work, cut := s.workContext(serving)
	defer cut()
	var running sync.WaitGroup
	var errs [3]error
	for i, run := range []func() error{
		func() error { return s.serve(serving) },
		func() error { return s.consume(serving, work) },
		// An outbox that knows a part of the subscriptions would tell a part of them.
		func() error { return s.subscriptions.cache.whole(serving) },
	} {
		running.Go(func() {
			if errs[i] = run(); errs[i] != nil {
				stop(errs[i])
			}
		})
	}
	running.Wait()
	return errors.Join(errs[:]...)
}

// workContext returns the context of running work: it ends a grace after
// serving does.
func (s *Server) workContext(serving context.Context) (context.Context, context.CancelFunc) {
	work, cut := context.WithCancel(context.WithoutCancel(serving))
	var timer *time.Timer
	armed := make(chan struct{})
	unhook := context.AfterFunc(serving, func() {
		timer = time.AfterFunc(s.config.Grace, cut)
		close(armed)
	})
	return work, func() {
		if !unhook() {
			<-armed
			timer.Stop()
		}
		cut()
	}
}

// serve answers the API until ctx ends, and then the requests that are running.
func (s *Server) serve(ctx context.Context) error {
	if err := rest.Serve(ctx, s.listener, (&api{s}).routes(), s.config.Grace, s.log); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

// consume fans out and sends until serving ends, and then what is running.
func (s *Server) consume(serving, work context.Context) error {
	// Without all subscriptions a notification would miss some.
	if err := s.subscriptions.cache.waitLoaded(serving); err != nil {
		return nil // it is stopped before it began
	}
	fan, send, err := s.setUp(serving)
	if err != nil {
		if serving.Err() != nil {
			return nil
		}
		return fmt.Errorf("outbox: %w", err)
	}
	var running sync.WaitGroup
	running.Go(func() { s.backlog.watch(serving) })
	running.Go(func() { s.lanes.keep(serving) })
	running.Go(func() { s.drive(serving) })
	running.Go(func() {
		f := s.fanout(send)
		s.backlog.whileLow(serving, func(fetch context.Context) {
			fan.Run(fetch, work, stream.RunConfig{
				Pull: 2 * fanoutSlots, Burst: 8 * fanoutSlots, Slots: stream.NewSlots(fanoutSlots), Ledger: f.ledger, Handle: f.handle,
			})
		})
	})
	sender := s.sender()
	running.Go(func() {
		s.broker.Split(serving, work, stream.SplitConfig{
			Name: senderLedger, Parts: len(send), Lease: s.config.Lease,
			Run: func(fetch, work context.Context, part int, lease *stream.Lease) {
				sender.own(fetch, work, send[part], part, lease)
			},
		})
	})
	running.Wait()
	return nil
}

// setUp is [Server.consumers], whose broker may go away in the middle of it.
func (s *Server) setUp(ctx context.Context) (fan *stream.Consumer, send []*stream.Consumer, err error) {
	err = stream.WaitOut(ctx, func() (err error) {
		fan, send, err = s.consumers(ctx)
		return err
	})
	if err == nil {
		err = stream.WaitOut(ctx, func() error { return s.warnOfHistory(ctx) })
	}
	return fan, send, err
}

// consumers are that of NOTIFY and those of the OUT streams.
func (s *Server) consumers(ctx context.Context) (fan *stream.Consumer, send []*stream.Consumer, err error) {
	fan, err = s.broker.EnsureConsumer(ctx, stream.ConsumerConfig{
		Stream:  stream.Notify,
		Name:    fanoutName,
		Filters: []string{stream.NotifySubject("*")}, // not the parts of bodies
		// A notification may be accepted before the first outbox runs.
		Start: stream.Start{Earliest: true},
	})
	if err != nil {
		return nil, nil, err
	}
	for shard := range s.broker.Shards() {
		c, err := s.broker.EnsureConsumer(ctx, stream.ConsumerConfig{
			Stream:  stream.Out(shard),
			Name:    senderName,
			Filters: []string{stream.OutDue(shard, "*", "*")},
		})
		if err != nil {
			return nil, nil, err
		}
		send = append(send, c)
	}
	return fan, send, nil
}

func (s *Server) fanout(send []*stream.Consumer) *fanout {
	leads := make([]*lead, len(send))
	for shard, c := range send {
		leads[shard] = newLead(c)
	}
	return &fanout{
		history: s.history, leads: leads,
		broker: s.broker, matcher: s.matcher, ledger: s.broker.MarkedLedger(fanoutLedger, 0), cache: s.subscriptions.cache,
		chunk: s.config.chunk, metrics: s.metrics, log: s.log, routine: routine.NewLines(s.log),
	}
}

func (s *Server) sender() *sender {
	return &sender{
		broker: s.broker, subscriptions: s.subscriptions, client: s.client, lanes: s.lanes,
		addresses: s.config.addressPolicy(), policy: policy{schedule: s.config.Schedule},
		history: s.history, disableAfter: s.config.DisableAfter, metrics: s.metrics, log: s.log,
		routine: routine.NewLines(s.log), settling: deadline.In(settleWithin), writing: deadline.In(writeWithin),
	}
}
