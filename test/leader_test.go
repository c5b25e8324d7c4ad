package test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

// The leader of a consumer is killed, again and again, while two workers take from
// it that are connected to the other servers, and so see no connection end. What
// the old leader had heard of and told nobody is handed out by the next one as if
// it was new. What a worker had recorded must not be handled again all the same, by
// neither of them; and an ordered chain must keep its order.
func TestConsumerLosesLeader(t *testing.T) {
	const kills = 4
	b := startBrokers(t, buildPrograms(t))
	urls := strings.Split(b.url, ",")
	w := &leaderWatch{t: t, ran: map[string][]ran{}}
	chains := []string{"loose", "strict"}
	for i, url := range urls[1:] {
		w.start(i, url)
	}
	ctx, stop := context.WithCancel(t.Context())
	var publishing sync.WaitGroup
	defer publishing.Wait()
	defer stop()
	published := 0
	publisher := connect(t, urls[1])
	publishing.Go(func() {
		for ; ctx.Err() == nil; published++ {
			e := &event.Event{
				ID: "e" + strconv.Itoa(published), Key: "k" + strconv.Itoa(published%20), Type: "github.push", Source: "/github/default",
				Receiver: "github", SourceID: "default", Time: time.Now(),
			}
			if err := stream.WaitOut(t.Context(), func() error { _, err := publisher.StoreEvent(t.Context(), e); return err }); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range kills {
		b.leadConsumers(0, "chain-loose", "ordered-strict")
		b.passes(2 * time.Second)
		b.servers[0].kill()
		b.passes(8 * time.Second) // an election takes 4 to 9
		b.servers[0].start()
		for shard := range 3 {
			b.waitLeader(stream.In(shard))
		}
	}
	stop()
	publishing.Wait()
	for _, chain := range chains {
		w.waitAll(chain, published)
	}
	for _, chain := range chains {
		w.check(chain, published)
	}
}

// waitAll waits until the chain has handled so many events. There may be a backlog:
// it is given up only when it does not shrink any more.
func (w *leaderWatch) waitAll(chain string, events int) {
	w.t.Helper()
	for have := w.count(chain); have < events; have = w.count(chain) {
		waitFor(w.t, fmt.Sprintf("more than %d of %d events to be handled by %s", have, events, chain),
			func() bool { return w.count(chain) > have })
	}
}

func connect(t *testing.T, url string) *stream.Broker {
	t.Helper()
	b, err := stream.Connect(stream.Config{URL: url, Name: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// leadConsumers makes a server the leader of consumers of all shards.
func (b *brokers) leadConsumers(server int, names ...string) {
	b.t.Helper()
	want := b.servers[server].name
	body, err := json.Marshal(map[string]any{"placement": map[string]any{"preferred": want}})
	if err != nil {
		b.t.Fatal(err)
	}
	for shard := range 3 {
		for _, name := range names {
			leads := func() bool {
				c, err := b.js.Consumer(b.t.Context(), stream.In(shard), name)
				return err == nil && c.CachedInfo().Cluster != nil && c.CachedInfo().Cluster.Leader == want
			}
			waitFor(b.t, want+" to lead "+name, func() bool {
				if leads() {
					return true
				}
				_, err := b.nc.Request(fmt.Sprintf("$JS.API.CONSUMER.LEADER.STEPDOWN.%s.%s", stream.In(shard), name), body, time.Second)
				return err == nil && leads()
			})
		}
	}
}

// leaderWatch is what the handlers of several workers did, by chain.
type leaderWatch struct {
	t   *testing.T
	mu  sync.Mutex
	ran map[string][]ran
}

type ran struct {
	id, key string
	worker  int
	at      time.Time
}

func (w *leaderWatch) start(number int, url string) {
	b := connect(w.t, url)
	chain := func(name string, ordered bool) handler.Chain {
		return handler.Chain{Name: name, Ordered: ordered, Earliest: true, Steps: []handler.Step{{
			Name: "h", Handler: handler.Do(func(_ context.Context, e *event.Event) error {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.ran[name] = append(w.ran[name], ran{e.ID, e.Key, number, time.Now()})
				return nil
			}),
		}}}
	}
	worker, err := worker.New(w.t.Context(), worker.Config{Broker: b, Logger: slog.New(slog.DiscardHandler)},
		chain("loose", false), chain("strict", true))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = worker.Run(ctx)
	}()
	w.t.Cleanup(func() { stop(); <-ended })
}

func (w *leaderWatch) count(chain string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := map[string]bool{}
	for _, r := range w.ran[chain] {
		ids[r.id] = true
	}
	return len(ids)
}

func (w *leaderWatch) check(chain string, published int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := map[string]ran{}
	last := map[string]int{} // by key
	repeated, other := 0, 0
	for _, r := range w.ran[chain] {
		n, _ := strconv.Atoi(r.id[1:])
		if chain == "strict" && n < last[r.key] {
			w.t.Errorf("%s: %s of %s after e%d", chain, r.id, r.key, last[r.key])
		}
		last[r.key] = n
		before, again := first[r.id]
		if !again {
			first[r.id] = r
			continue
		}
		repeated++
		if before.worker != r.worker {
			other++
		}
		w.t.Errorf("%s: %s was handled by worker %d, and again by worker %d %v later", chain, r.id, before.worker, r.worker, r.at.Sub(before.at))
	}
	w.t.Logf("%s: %d events, handled again %d, by another worker %d", chain, published, repeated, other)
}
