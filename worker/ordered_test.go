package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

// More cases of the ordering property, or one of them again:
//
//	go test -race -run TestOrderedProperty ./worker -ordered.cases 100
//	go test -race -run TestOrderedProperty ./worker -ordered.cases 1 -ordered.seed 17
var (
	orderedCases = flag.Int("ordered.cases", 2, "cases of the ordering property")
	orderedSeed  = flag.Uint64("ordered.seed", 1, "seed of the first one")
)

// leaseInTests is long enough for a machine that is busy with other tests.
const leaseInTests = 2 * time.Second

func TestOrderedProperty(t *testing.T) {
	var total orderedTotals
	for i := range *orderedCases {
		seed := *orderedSeed + uint64(i)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			newOrderedCase(t, seed).run(&total)
		})
	}
	t.Logf("cases %d: %+v", *orderedCases, total)
}

type orderedTotals struct {
	Events, Keys, Kills, Stops, Joins, Cuts, Restarts, Failures, Dead, Repeats int
}

// orderedCase is one random history: events of some keys, handlers that fail by a
// plan, and pods that come and go. Handlers write down what they do, as long as
// their pod lives.
type orderedCase struct {
	t      *testing.T
	random *rand.Rand
	server *testbroker.Server
	addr   string // of the server, over restarts
	// restarts lets the broker be restarted.
	restarts bool
	events   []plannedEvent
	byID     map[string]*plannedEvent
	pods     []*orderedPod

	mu      sync.Mutex
	effects []effect
}

type plannedEvent struct {
	id, key string
	// fails is how often each step fails before it succeeds; never: it gives up.
	fails [2]int
	never bool
	large bool
	takes time.Duration
}

// effect is what a handler did to the outside.
type effect struct {
	id, key string
	step    int
	ended   bool // it succeeded, or gave up; else it began
	pod     *orderedPod
}

type orderedPod struct {
	number int
	killed atomic.Bool
	wasCut bool // off the broker for a while
	link   *link
	b      *stream.Broker
	cancel context.CancelFunc
	ended  chan struct{}
}

func newOrderedCase(t *testing.T, seed uint64) *orderedCase {
	c := &orderedCase{t: t, random: rand.New(rand.NewPCG(seed, 0)), byID: map[string]*plannedEvent{}}
	c.server = testbroker.Start(t)
	c.addr = strings.TrimPrefix(c.server.ClientURL(), "nats://")
	b := c.server.Connect()
	shards := 1 + c.random.IntN(4)
	if err := b.Migrate(t.Context(), stream.Topology{Shards: shards}); err != nil {
		t.Fatal(err)
	}
	c.restarts = c.random.IntN(2) == 0
	keys := 1 + c.random.IntN(16)
	for i := range 100 + c.random.IntN(300) {
		e := plannedEvent{id: "e" + strconv.Itoa(i), key: "k" + strconv.Itoa(c.random.IntN(keys))}
		if c.random.IntN(10) == 0 {
			e.fails[c.random.IntN(2)] = 1 + c.random.IntN(3)
		}
		e.never = c.random.IntN(40) == 0
		e.takes = time.Duration(c.random.IntN(60)) * time.Millisecond
		e.large = c.random.IntN(30) == 0
		c.events = append(c.events, e)
	}
	for i := range c.events {
		c.byID[c.events[i].id] = &c.events[i]
	}
	return c
}

// tries is how often a step is tried in all.
const tries = 3

// gives up tells whether the event becomes a dead letter by its plan.
func (e *plannedEvent) givesUp() bool { return e.never || slices.Max(e.fails[:]) >= tries }

func (c *orderedCase) chain(p *orderedPod) handler.Chain {
	steps := make([]handler.Step, 2)
	for i := range steps {
		steps[i] = handler.Step{Order: i, Name: "s" + strconv.Itoa(i), Handler: handler.Do(
			func(ctx context.Context, e *event.Event) error { return c.handle(ctx, p, i, e) })}
	}
	return handler.Chain{
		Name: "c", Ordered: true, Earliest: true, Concurrency: 8, MaxWaiting: 20, Steps: steps,
		Retry: handler.Retry{Attempts: tries, First: 30 * time.Millisecond, Factor: 1, Max: time.Second, GiveUp: time.Hour},
	}
}

func (c *orderedCase) handle(ctx context.Context, p *orderedPod, step int, e *event.Event) error {
	plan := c.byID[e.ID]
	if want := bodyOf(plan); len(e.Body) != len(want) {
		c.t.Errorf("%s: the body has %d bytes, want %d", e.ID, len(e.Body), len(want))
	}
	if !c.effect(effect{id: e.ID, key: e.Key, step: step, pod: p}) {
		return errors.New("killed")
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(plan.takes):
	}
	var err error
	switch {
	case plan.never:
		err = handler.Never(errors.New("by plan"))
	case e.Attempt <= plan.fails[step]:
		err = fmt.Errorf("attempt %d fails by plan", e.Attempt)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil && !c.effect(effect{id: e.ID, key: e.Key, step: step, ended: true, pod: p}) {
		return errors.New("killed")
	}
	return err
}

// effect writes down an effect, if the pod lives: a process that was killed has none.
func (c *orderedCase) effect(e effect) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.pod.killed.Load() {
		return false
	}
	c.effects = append(c.effects, e)
	return true
}

func (c *orderedCase) join() {
	p := &orderedPod{number: len(c.pods), ended: make(chan struct{})}
	p.link = newLink(c.t, c.addr)
	var err error
	if p.b, err = stream.Connect(stream.Config{URL: p.link.url(), Name: "test", Logger: testbroker.Logger(c.t).With("pod", p.number)}); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(p.b.Close)
	if err := p.b.Open(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	w, err := worker.New(c.t.Context(), worker.Config{
		Broker: p.b, Grace: time.Second, Lease: leaseInTests, Logger: testbroker.Logger(c.t).With("pod", p.number),
	}, c.chain(p))
	if err != nil {
		c.t.Fatal(err)
	}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(c.t.Context())
	go func() {
		defer close(p.ended)
		_ = w.Run(ctx)
	}()
	c.t.Cleanup(func() { p.cancel(); <-p.ended })
	c.pods = append(c.pods, p)
}

// kill ends a pod without a word to anybody.
func (c *orderedCase) kill(p *orderedPod) {
	c.mu.Lock()
	p.killed.Store(true)
	c.mu.Unlock()
	p.b.Close()
	p.cancel()
}

func (c *orderedCase) run(total *orderedTotals) {
	c.join()
	outside := c.server.Connect()
	if err := outside.Open(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	published := make(chan struct{})
	go func() {
		defer close(published)
		for i := range c.events {
			c.publish(outside, &c.events[i])
		}
	}()
	live := []*orderedPod{c.pods[0]}
	for range 4 + c.random.IntN(5) {
		pause(c.t, time.Duration(c.random.IntN(400))*time.Millisecond)
		victim := c.random.IntN(len(live))
		switch c.random.IntN(7) {
		case 0, 1:
			c.join()
			live = append(live, c.pods[len(c.pods)-1])
			total.Joins++
		case 2, 3:
			p := live[victim]
			live = slices.Delete(live, victim, victim+1)
			if c.random.IntN(3) > 0 {
				c.kill(p)
				total.Kills++
			} else {
				p.cancel()
				total.Stops++
			}
			if len(live) == 0 {
				c.join()
				live = append(live, c.pods[len(c.pods)-1])
			}
		case 4:
			if !c.restarts {
				continue
			}
			// A broker that is away for longer than the lease ends it for all.
			for _, p := range live {
				p.wasCut = true
			}
			c.server.Restart()
			total.Restarts++
		default:
			p := live[victim]
			p.wasCut = true
			p.link.cut(true)
			pause(c.t, time.Duration(c.random.Int64N(int64(2*leaseInTests))))
			p.link.cut(false)
			total.Cuts++
		}
	}
	<-published
	waitFor(c.t, func() bool { return len(finished(c.t, outside, "c")) >= len(c.events) })
	for _, p := range live {
		p.cancel()
		<-p.ended
	}
	c.check(outside, total)
}

func bodyOf(e *plannedEvent) []byte {
	if e.large {
		return make([]byte, stream.MaxInline+1)
	}
	return []byte(`{"n":1}`)
}

func (c *orderedCase) publish(b *stream.Broker, e *plannedEvent) {
	ev := &event.Event{
		ID: e.id, Key: e.key, Type: "github.push", Source: "/github/default", Receiver: "github", SourceID: "default",
		Time: time.Now(), Body: bodyOf(e),
	}
	if err := stream.WaitOut(c.t.Context(), func() error {
		_, err := b.StoreEvent(c.t.Context(), ev)
		return err
	}); err != nil {
		c.t.Error(err)
	}
}

// finished are the events of which the ledger says that they are, as <shard>.<seq>.
func finished(t *testing.T, b *stream.Broker, chain string) map[string]string {
	all := map[string]string{}
	for _, m := range messages(t, b, stream.Done) {
		shard, is := strings.CutPrefix(m.Subject, "belay.done."+chain+".")
		if !is {
			continue
		}
		var records []stream.Record
		if err := json.Unmarshal(m.Data, &records); err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			all[shard+"."+strconv.FormatUint(r.Seq, 10)] = r.Outcome
		}
	}
	return all
}

func messages(t *testing.T, b *stream.Broker, name string) (all []*stream.Stored) {
	t.Helper()
	for seq := uint64(1); ; seq++ {
		m, err := b.Get(t.Context(), name, seq)
		if errors.Is(err, stream.ErrNotFound) {
			return all
		}
		if err != nil {
			return nil // the broker is being restarted
		}
		all = append(all, m)
	}
}

// check reads the history from the side effects.
func (c *orderedCase) check(b *stream.Broker, total *orderedTotals) {
	order := c.storedOrder(b)
	dead := map[string]int{}
	for _, m := range messages(c.t, b, stream.Dead) {
		dead[first(m.Header["ce-id"])]++
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := map[string]int{}           // how far the key is in its order
	succeeded := map[string]effect{} // by id and step
	began, repeats := 0, 0
	for _, e := range c.effects {
		ids := order[e.key]
		for at[e.key] < len(ids) && ids[at[e.key]] != e.id {
			at[e.key]++
		}
		if at[e.key] == len(ids) {
			c.t.Fatalf("%s of %s is handled (step %d, pod %d) after one that comes later", e.id, e.key, e.step, e.pod.number)
		}
		name := e.id + "/" + strconv.Itoa(e.step)
		if before, ok := succeeded[name]; ok && !e.ended {
			repeats++
			if !before.pod.killed.Load() && !before.pod.wasCut {
				c.t.Errorf("%s is repeated by pod %d, and pod %d, which had done it, was neither killed nor cut off", name, e.pod.number, before.pod.number)
			}
		}
		if e.ended {
			succeeded[name] = e
		} else {
			began++
		}
	}
	for _, e := range c.events {
		_, all := succeeded[e.id+"/1"]
		if all == e.givesUp() {
			c.t.Errorf("%s: handled %v, gives up by plan %v", e.id, all, e.givesUp())
		}
		if (dead[e.id] > 0) != e.givesUp() {
			c.t.Errorf("%s: dead letters %d, gives up by plan %v", e.id, dead[e.id], e.givesUp())
		}
	}
	total.Repeats += repeats
	total.Failures += began - len(succeeded) - repeats // or begun by one that was killed
	total.Events += len(c.events)
	total.Keys += len(order)
	total.Dead += len(dead)
}

// storedOrder are the ids of each key in the order in which they are stored.
func (c *orderedCase) storedOrder(b *stream.Broker) map[string][]string {
	order := map[string][]string{}
	for shard := range b.Shards() {
		for _, m := range messages(c.t, b, stream.In(shard)) {
			if id := first(m.Header["ce-id"]); id != "" {
				order[c.byID[id].key] = append(order[c.byID[id].key], id)
			}
		}
	}
	return order
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// pause lets what runs beside go on for a while.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}
