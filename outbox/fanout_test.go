package outbox

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/pkg/webhook"
)

func TestLargeBodyTravelsByReference(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(func(c *Config) { c.Schedule = []time.Duration{0, 500 * time.Millisecond} })
	var calls atomic.Int32
	s := newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) <= 2 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	o.subscribe("key-a", map[string]any{"url": s.URL})
	body := `"` + strings.Repeat("x", 200<<10) + `"`
	o.notify("key-a", "n1", "t", body)
	for range 2 {
		if p := s.next(t); string(p.body) != body {
			t.Errorf("%d bytes were posted, want %d", len(p.body), len(body))
		}
	}
	// The notification is gone before the last attempt.
	if err := o.broker.Purge(t.Context(), stream.Notify, "belay.notify.>"); err != nil {
		t.Fatal(err)
	}
	if a := o.attempts(3)[2]; a.Verdict != dead || a.Reason != ReasonExpired {
		t.Errorf("recorded %+v", a)
	}
	o.settled()
	letters := o.messages(stream.Dead)
	if len(letters) != 1 || event.HeaderValue(letters[0].Header, headerReason) != string(ReasonExpired) {
		t.Errorf("dead letters %+v", letters)
	}
}

// One delivery for each of many subscriptions, over several batches and shards.
func TestFanOut(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(func(c *Config) { c.chunk = 3 })
	s := newSubscriber(t, nil)
	const n = 20
	for i := range n {
		o.subscribe("key-a", map[string]any{"url": s.URL + "/" + strconv.Itoa(i), "filters": []string{"deploy.*", "deploy.done", "*"}})
	}
	o.notify("key-a", "n1", "deploy.done", `1`)
	paths := map[string]int{}
	for range n {
		paths[s.next(t).path]++
	}
	o.attempts(n)
	o.settled()
	s.none(t)
	if len(paths) != n {
		t.Errorf("posted to %v", paths)
	}
}

// A fan-out that died between two chunks, or in one, goes on behind the last cursor
// that was stored, and writes nothing again of the chunk after it.
func TestFanOutResumes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.run(nil)
	s := newSubscriber(t, nil)
	const n = 31
	for i := range n {
		first.subscribe("key-a", map[string]any{"url": s.URL + "/" + strconv.Itoa(i)})
	}
	subs := first.server.subscriptions.cache.match("default", "t")
	first.stop()

	e := &event.Event{ID: "n1", Source: "/test", Type: "t", Time: time.Now(), Tenant: "default", Body: []byte("1"), ContentType: "application/json"}
	if _, err := h.broker.StoreEvent(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	m, err := h.broker.Get(t.Context(), stream.Notify, 1)
	if err != nil {
		t.Fatal(err)
	}
	// What a process leaves that dies after the first chunk of each shard, its cursor,
	// and a part of the second chunk.
	f := first.fanout()
	f.chunk = 3
	held := &stream.Held{Stream: m.Stream, Seq: m.Seq, Stored: m.Time}
	if err := f.ledger.Begin(t.Context(), held.Seq); err != nil {
		t.Fatal(err)
	}
	for shard := range h.broker.Shards() {
		mine := slices.DeleteFunc(slices.Clone(subs), func(s *Subscription) bool { return shardOf(s.ID, h.broker.Shards()) != shard })
		if len(mine) < 5 { // the ids are random
			continue
		}
		if _, err := f.writeShard(t.Context(), held, e, shard, slices.Clone(mine[:4])); err != nil {
			t.Fatal(err)
		}
		if last, err := f.last(t.Context(), held, shard); err != nil || last != mine[2].ID {
			t.Errorf("the cursor is at %q (%v), want %s", last, err, mine[2].ID)
		}
	}
	h.run(func(c *Config) { c.chunk = 3 })
	ids := map[string]int{}
	for range n {
		ids[s.next(t).header.Get(webhook.HeaderID)]++
	}
	h.attempts(n)
	h.settled()
	s.none(t)
	if len(ids) != n {
		t.Errorf("%d different deliveries, want %d", len(ids), n)
	}
	if got := fmt.Sprint(h.fanoutRecords()); got != fmt.Sprint([][]stream.Record{{{Seq: 1, Outcome: outcomeDone}}}) {
		t.Errorf("the ledger holds %s", got)
	}
}

// A fan-out of a few deliveries has no cursor: the next one looks for what became of
// each. One waits, one was delivered, and one was not written.
func TestFanOutOfAFewResumes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.run(nil)
	s := newSubscriber(t, nil)
	for i := range 3 {
		first.subscribe("key-a", map[string]any{"url": s.URL + "/" + strconv.Itoa(i)})
	}
	subs := first.server.subscriptions.cache.match("default", "t")
	first.stop()

	e := &event.Event{ID: "n1", Source: "/test", Type: "t", Time: time.Now(), Tenant: "default", Body: []byte("1"), ContentType: "application/json"}
	if _, err := h.broker.StoreEvent(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	m, err := h.broker.Get(t.Context(), stream.Notify, 1)
	if err != nil {
		t.Fatal(err)
	}
	held := &stream.Held{Stream: m.Stream, Seq: m.Seq, Stored: m.Time}
	waits, done, missing := subs[0], subs[1], subs[2]
	f := first.fanout()
	if err := f.ledger.Begin(t.Context(), held.Seq); err != nil {
		t.Fatal(err)
	}
	if _, err := f.writeShard(t.Context(), held, e, shardOf(waits.ID, h.broker.Shards()), []*Subscription{waits}); err != nil {
		t.Fatal(err)
	}
	tried := newAttempt(newDelivery(e, placeOf(held), done), time.Now())
	tried.Verdict, tried.Reason = delivered, ReasonAccepted
	record, err := tried.message()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.broker.Publish(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	h.run(nil)
	got, want := []string{path.Base(s.next(t).path), path.Base(s.next(t).path)}, []string{path.Base(waits.URL), path.Base(missing.URL)}
	h.settled()
	s.none(t)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("posted to %v, want %v", got, want)
	}
}

// An outbox that is cut off in the middle of a fan-out leaves the rest to the
// next one, and every subscription still gets one delivery.
func TestFanOutIsCutOff(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.run(func(c *Config) { c.chunk, c.Grace = 1, time.Nanosecond })
	s := newSubscriber(t, nil)
	const n = 120
	for range n {
		first.subscribe("key-a", map[string]any{"url": s.URL})
	}
	first.notify("key-a", "n1", "t", `1`)
	s.next(t)
	first.stop()
	if len(h.fanoutRecords()) != 0 {
		t.Fatal("the fan-out was done before it could be cut off")
	}
	h.run(func(c *Config) { c.chunk = 7 })
	h.fannedOut(1)
	deliveries := map[string]int{}
	for _, a := range h.attempts(n) {
		deliveries[a.Delivery]++
	}
	h.settled()
	if len(deliveries) != n {
		t.Errorf("%d deliveries were attempted, want %d", len(deliveries), n)
	}
}
