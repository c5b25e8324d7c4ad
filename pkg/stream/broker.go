// Package stream is Belay's view of its broker, NATS JetStream, and the only
// package that imports the NATS client: the topology, durable publishing,
// consuming, settling, scheduling, and buckets of keys and values.
package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says where the broker is and how to identify to it.
type Config struct {
	// URL is one address or a comma-separated list of seeds:
	// nats://a:4222,nats://b:4222.
	URL string
	// Name is the program's name on the broker: ingress, worker, outbox.
	Name string
	// Creds is the path of a credentials file; empty for none.
	Creds string
	// NKey is the path of an nkey seed file; empty for none.
	NKey string
	// CA is the path of the certificates that the broker's is checked with;
	// empty for the system's.
	CA string
	// InProcess is an embedded server to talk to without a socket; URL is
	// ignored then.
	InProcess interface {
		InProcessConn() (net.Conn, error)
	}
	// Flush puts on stable storage what the broker has confirmed so far. It is
	// for an embedded broker, which confirms what it has handed to the operating
	// system: every durable write then waits for one Flush, shared with the
	// writes beside it. nil: the broker's word is enough.
	Flush func() error
	// Room tells why no more events should be taken: the disk of an embedded
	// broker is nearly full. What was taken goes on. nil: there is always room.
	Room func() error
	// Logger is told of lost and restored connections. Required.
	Logger *slog.Logger
}

// Addr is the broker's address for messages: without a password or token.
func (c Config) Addr() string {
	if c.InProcess != nil {
		return "this process"
	}
	seeds := strings.Split(c.URL, ",")
	for i, seed := range seeds {
		seeds[i] = "an address that cannot be read"
		if u, err := url.Parse(strings.TrimSpace(seed)); err == nil {
			u.User = nil
			seeds[i] = u.String()
		}
	}
	return strings.Join(seeds, ",")
}

// Broker is a connection to the broker that is restored for ever. Its methods
// may be called from many goroutines.
type Broker struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	addr   string // for messages
	log    *slog.Logger
	shards int

	room    func() error
	flush   *groups[struct{}] // nil: a confirmation is enough
	streams sync.Map          // handles by name, looked up once
	buckets sync.Map
	mailbox mailbox

	confirmations confirmations
	together      *groups[Message]
}

// Connect opens the connection. A broker that does not answer yet is no error:
// the connection is made as soon as it does, and [Broker.Ready] tells.
func Connect(c Config) (*Broker, error) {
	opts := []nats.Option{
		nats.Name("belay-" + c.Name),
		nats.CustomInboxPrefix("_INBOX_belay_" + c.Name),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 500*time.Millisecond),
		// A publish that failed must not be stored behind its caller's back
		// when the connection is restored.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(connectTimeout),
		nats.SetCustomDialer(&dialer{net.Dialer{Timeout: connectTimeout}}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				c.Logger.Warn("broker connection lost, reconnecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.Logger.Info("broker connection restored", "server", nc.ConnectedServerName())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			c.Logger.Warn("broker reported an error", "error", err, "subject", subject)
		}),
	}
	if c.InProcess != nil {
		opts = append(opts, nats.InProcessServer(inProcess{c.InProcess}))
	}
	if c.Creds != "" {
		opts = append(opts, nats.UserCredentials(c.Creds))
	}
	if c.NKey != "" {
		o, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, fmt.Errorf("read the nkey seed %s: %w", c.NKey, err)
		}
		opts = append(opts, o)
	}
	if c.CA != "" {
		opts = append(opts, nats.RootCAs(c.CA))
	}
	nc, err := nats.Connect(c.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker at %s: %w", c.Addr(), err)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("set up JetStream: %w", err)
	}
	b := &Broker{nc: nc, js: js, addr: c.Addr(), log: c.Logger, room: c.Room}
	b.together = b.newTogether()
	if c.Flush != nil {
		b.flush = newFlush(c.Flush)
	}
	return b, nil
}

// connectTimeout bounds an attempt to connect to the broker.
const connectTimeout = 2 * time.Second

// requestTimeout bounds a request to the broker whose caller sets no deadline.
const requestTimeout = 5 * time.Second

// Close ends the connection once what was sent has left.
func (b *Broker) Close() {
	if b.nc.IsConnected() {
		// Acks are sent without waiting; a flush makes sure that they left.
		if err := b.nc.FlushTimeout(2 * time.Second); err != nil {
			b.log.Warn("broker connection closed before everything was sent", "error", err)
		}
	}
	b.nc.Close()
}

// Ready tells why the broker cannot be used right now; nil if it can.
func (b *Broker) Ready(context.Context) error {
	if s := b.nc.Status(); s != nats.CONNECTED {
		return fmt.Errorf("no connection to the broker at %s (%s)", b.addr, strings.ToLower(s.String()))
	}
	return nil
}

// Shards is the number of IN streams, and of OUT streams. It is known after
// [Broker.Open] or [Broker.Migrate].
func (b *Broker) Shards() int { return b.shards }

// Open waits until the broker is there and holds the whole topology that
// [Broker.Migrate] makes, and reads the number of shards from it.
func (b *Broker) Open(ctx context.Context) error {
	said := false
	return retry(ctx, func() error {
		err := b.Ready(ctx)
		shards := 0
		if err == nil {
			shards, err = b.storedShards(ctx)
		}
		if err == nil {
			err = b.complete(ctx, shards)
		}
		if err != nil {
			if !said {
				b.log.Info("waiting for the broker that BELAY_NATS_URL names", "reason", err)
				said = true
			}
			return err
		}
		b.shards = shards
		return nil
	})
}

// complete tells what is missing of the topology: it may be in the making, or an
// older version's.
func (b *Broker) complete(ctx context.Context, shards int) error {
	if shards == 0 {
		return errors.New(`the broker holds no streams of Belay yet: run "belay migrate"`)
	}
	for _, name := range streamNames(shards) {
		_, err := b.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf(`the broker does not hold the stream %s yet, which this version needs: run "belay migrate"`, name)
		}
		if err != nil {
			return fmt.Errorf("look up the stream %s: %w", name, brokerError(err))
		}
	}
	return nil
}

// epoch counts the connections. What a consumer was told in one may be told
// again in the next.
func (b *Broker) epoch() uint64 { return b.nc.Stats().Reconnects }

// WaitOut calls f again, with growing pauses, for as long as the broker is away
// or full and ctx has not ended. What another call would not change is returned
// at once.
func WaitOut(ctx context.Context, f func() error) error {
	var last error
	if err := retry(ctx, func() error {
		last = f()
		if errors.Is(last, ErrUnavailable) || errors.Is(last, ErrInFlight) || errors.Is(last, ErrFull) {
			return last
		}
		return nil
	}); err != nil {
		return err
	}
	return last
}

// retry calls f until it succeeds or ctx ends, with growing pauses.
func retry(ctx context.Context, f func() error) error {
	pause := 50 * time.Millisecond
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (last error: %w)", context.Cause(ctx), err)
		case <-time.After(pause):
			pause = min(2*pause, 2*time.Second)
		}
	}
}
