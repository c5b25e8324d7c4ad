package stream_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// fill stores events of 32 KiB until the store is full, and returns how many.
func fill(t *testing.T, b *stream.Broker, name string) int {
	t.Helper()
	for i := 0; ; i++ {
		_, err := b.StoreEvent(t.Context(), &event.Event{
			ID: name + strconv.Itoa(i), Source: "/a/b", Type: "a.t", Receiver: "a", SourceID: "b", Body: make([]byte, 32<<10),
		})
		if errors.Is(err, stream.ErrFull) {
			return i
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullStreamRefusesABacklogAndMakesRoomFromHistory(t *testing.T) {
	b := testbroker.Start(t).Connect()
	ctx := t.Context()
	// The shortest window: what is older may be purged.
	if err := b.Migrate(ctx, stream.Topology{MaxBytes: 4 << 20, Window: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	config := stream.ConsumerConfig{Stream: stream.In(0), Name: "chain-c", Filters: event.Filters(nil, nil), Start: stream.Start{Earliest: true}}
	if _, err := b.EnsureConsumer(ctx, config); err != nil {
		t.Fatal(err)
	}
	n := fill(t, b, "backlog")
	if err := b.SweepOnce(ctx, "test"); err != nil {
		t.Fatal(err)
	}
	if first, last := b.State(ctx, stream.In(0)); first != 1 || last != uint64(n) {
		t.Fatalf("a backlog was purged: %d to %d are left of %d", first, last, n)
	}

	var handled atomic.Int64
	consume(t, b, config, stream.RunConfig{Ledger: b.Ledger("c", 0), Handle: func(ctx context.Context, h *stream.Held) {
		if err := h.Settle(ctx, stream.Ack); err != nil {
			t.Error(err)
		}
		handled.Add(1)
	}})
	waitFor(t, func() bool { return handled.Load() == int64(n) })
	// A parked event keeps what is from it on.
	parked := uint64(n - 3)
	if err := b.Schedule(ctx, stream.Message{Subject: stream.RetryDue("c", stream.Place{Seq: parked})}, stream.RetryWait("c", stream.Place{Seq: parked}), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := b.SweepOnce(ctx, "test"); err != nil {
		t.Fatal(err)
	}
	if first, _ := b.State(ctx, stream.In(0)); first > parked {
		t.Errorf("a parked event was purged: the first that is left is %d, parked was %d", first, parked)
	}
	if err := b.Purge(ctx, stream.Retry, "belay.retry.>"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		if err := b.SweepOnce(ctx, "test"); err != nil {
			t.Fatal(err)
		}
		first, _ := b.State(ctx, stream.In(0))
		return first > 1
	})
	if again := fill(t, b, "again"); again == 0 {
		t.Error("no event found room after the sweep")
	}
}

func TestParkedEventThatIsTooOldToBeKeptHoldsNothingBack(t *testing.T) {
	b := testbroker.Start(t).Connect()
	ctx := t.Context()
	if err := b.Migrate(ctx, stream.Topology{MaxBytes: 4 << 20, Window: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	n := fill(t, b, "first")
	if err := b.Purge(ctx, stream.In(0), "belay.in.>"); err != nil { // as age does
		t.Fatal(err)
	}
	gone := uint64(n)
	if err := b.Schedule(ctx, stream.Message{Subject: stream.RetryDue("removed", stream.Place{Seq: gone})}, stream.RetryWait("removed", stream.Place{Seq: gone}), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	fill(t, b, "second")
	config := stream.ConsumerConfig{Stream: stream.In(0), Name: "chain-c", Filters: event.Filters(nil, nil), Start: stream.Start{Earliest: true}}
	consume(t, b, config, stream.RunConfig{Ledger: b.Ledger("c", 0), Handle: func(ctx context.Context, h *stream.Held) {
		if err := h.Settle(ctx, stream.Ack); err != nil {
			t.Error(err)
		}
	}})
	waitFor(t, func() bool {
		if err := b.SweepOnce(ctx, "test"); err != nil {
			t.Fatal(err)
		}
		first, _ := b.State(ctx, stream.In(0))
		return first > gone+1
	})
}

func TestOneProcessSweeps(t *testing.T) {
	b := testbroker.New(t)
	for _, who := range []string{"first", "second", "first"} {
		if err := b.SweepOnce(t.Context(), who); err != nil {
			t.Fatal(err)
		}
	}
	e, err := b.Bucket(stream.State).Get(t.Context(), "sweeper")
	if err != nil || string(e.Value) != "first" {
		t.Errorf("the lease is of %q: %v", e.Value, err)
	}
}

func TestParkedMessageThatFoundTheStoreFullIsBroughtBack(t *testing.T) {
	b := testbroker.StartSmall(t, 4<<20).Connect()
	ctx := t.Context()
	if err := b.Migrate(ctx, stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	var due atomic.Int64
	consume(t, b, stream.ConsumerConfig{Stream: stream.Retry, Name: "chain-c", Filters: []string{stream.RetryDueAll("c")}},
		stream.RunConfig{Handle: func(ctx context.Context, h *stream.Held) {
			due.Add(1)
			if err := h.Settle(ctx, stream.Ack); err != nil {
				t.Error(err)
			}
		}})
	at := time.Now().Add(time.Second)
	m := stream.Message{Subject: stream.RetryDue("c", stream.Place{Seq: 1}), Data: make([]byte, 40<<10)}
	if err := b.Schedule(ctx, m, stream.RetryWait("c", stream.Place{Seq: 1}), at); err != nil {
		t.Fatal(err)
	}
	fill(t, b, "filler")
	waitFor(t, func() bool { return time.Since(at) > 1500*time.Millisecond })
	if due.Load() != 0 {
		t.Fatal("the broker stored a due message though it was full: this test shows nothing")
	}
	if err := b.Purge(ctx, stream.In(0), "belay.in.>"); err != nil {
		t.Fatal(err)
	}
	if err := b.WakeOverdue(ctx, stream.Retry, "belay.retry.wait.>", time.Second); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return due.Load() == 1 })
}

func TestHistoryGoesByAgeAndABacklogStays(t *testing.T) {
	b := testbroker.New(t)
	ctx := t.Context()
	if err := b.Migrate(ctx, stream.Topology{Window: 100 * time.Millisecond, Retention: 200 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	all := stream.ConsumerConfig{Stream: stream.In(0), Name: "chain-all", Filters: event.Filters(nil, nil), Start: stream.Start{Earliest: true}}
	// A chain that selects only the first event, and has handled it long ago.
	rare := all
	rare.Name, rare.Filters = "chain-rare", event.Filters(nil, []event.Pattern{must(event.ParsePattern("rare"))})
	ack := func(ctx context.Context, h *stream.Held) {
		if err := h.Settle(ctx, stream.Ack); err != nil {
			t.Error(err)
		}
	}
	store := func(name string) {
		e := &event.Event{ID: name, Source: "/a/b", Type: "a." + name, Receiver: "a", SourceID: "b"}
		if _, err := b.StoreEvent(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.EnsureConsumer(ctx, all); err != nil {
		t.Fatal(err)
	}
	store("rare")
	consume(t, b, rare, stream.RunConfig{Ledger: b.Ledger("rare", 0), Handle: ack})
	for i := range 5 {
		store("common" + strconv.Itoa(i))
	}
	stored := time.Now()
	waitFor(t, func() bool { return time.Since(stored) > 300*time.Millisecond })
	if err := b.SweepOnce(ctx, "test"); err != nil {
		t.Fatal(err)
	}
	if first, last := b.State(ctx, stream.In(0)); first != 1 || last != 6 {
		t.Fatalf("a backlog went by age: %d to %d are left", first, last)
	}
	consume(t, b, all, stream.RunConfig{Ledger: b.Ledger("all", 0), Handle: ack})
	waitFor(t, func() bool {
		if err := b.SweepOnce(ctx, "test"); err != nil {
			t.Fatal(err)
		}
		first, _ := b.State(ctx, stream.In(0))
		return first == 7
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
