package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// consume runs a consumer until the test ends or stop is called.
func consume(t *testing.T, b *stream.Broker, c stream.ConsumerConfig, rc stream.RunConfig) (stop func()) {
	t.Helper()
	cons, err := b.EnsureConsumer(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if rc.Pull == 0 {
		rc.Pull = 16
	}
	if rc.Slots == nil {
		rc.Slots = stream.NewSlots(rc.Pull)
	}
	fetch, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		cons.Run(fetch, context.WithoutCancel(fetch), rc)
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func publish(t *testing.T, b *stream.Broker, n int) {
	t.Helper()
	for i := range n {
		e := &event.Event{ID: strconv.Itoa(i), Source: "/a/b", Type: "a.t", Receiver: "a", SourceID: "b"}
		h, d := e.Encode()
		if _, err := b.Publish(t.Context(), stream.Message{Subject: e.Subject(), Header: h, Data: d, ID: e.MsgID()}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestScheduledMessageComesWhenItIsDue(t *testing.T) {
	b := testbroker.New(t)
	due := make(chan *stream.Held, 1)
	consume(t, b, stream.ConsumerConfig{Stream: stream.Retry, Name: "retry-c", Filters: []string{"belay.retry.due.c.>"}},
		stream.RunConfig{Handle: func(ctx context.Context, h *stream.Held) {
			if err := h.Settle(ctx, stream.Ack); err != nil {
				t.Error(err)
			}
			due <- h
		}})
	at := time.Now().Add(700 * time.Millisecond)
	for _, body := range []string{"replaced", "kept"} {
		m := stream.Message{Subject: stream.RetryDue("c", stream.Place{Seq: 7}), Header: map[string][]string{"x-attempt": {"2"}}, Data: []byte(body)}
		if err := b.Schedule(t.Context(), m, stream.RetryWait("c", stream.Place{Seq: 7}), at); err != nil {
			t.Fatal(err)
		}
	}
	h := <-due
	if early := time.Until(at); early > 0 {
		t.Errorf("came %v early", early)
	}
	if string(h.Data) != "kept" || h.Header["x-attempt"][0] != "2" || h.Subject != stream.RetryDue("c", stream.Place{Seq: 7}) {
		t.Errorf("got %s %q %v", h.Subject, h.Data, h.Header)
	}
}

func TestFinishedMessagesAreNotHandledAgainAfterTheBrokerForgotTheirAcks(t *testing.T) {
	b := testbroker.New(t)
	publish(t, b, 100)
	filters := event.Filters(nil, nil)
	ledger := b.Ledger("c", 0)
	var handled atomic.Int64
	done := make(chan struct{})
	record := func(ctx context.Context, h *stream.Held) {
		if err := ledger.Record(ctx, stream.Record{Seq: h.Seq, Outcome: "done"}); err != nil {
			t.Error(err)
		}
		// The ack is lost: the message is never settled, as after a crash.
		if handled.Add(1) == 100 {
			close(done)
		}
	}
	consume(t, b, stream.ConsumerConfig{Stream: stream.In(0), Name: "chain-c", Filters: filters, Start: stream.Start{Earliest: true}},
		stream.RunConfig{Pull: 100, Ledger: ledger, Handle: record})
	<-done

	// Another worker takes over with a consumer that knows of no ack.
	second := b.Ledger("c", 0)
	var again atomic.Int64
	stop := consume(t, b, stream.ConsumerConfig{Stream: stream.In(0), Name: "chain-c2", Filters: filters, Start: stream.Start{Earliest: true}},
		stream.RunConfig{Ledger: second, Handle: func(ctx context.Context, h *stream.Held) {
			again.Add(1)
			if err := h.Settle(ctx, stream.Ack); err != nil {
				t.Error(err)
			}
		}})
	waitFor(t, func() bool { return b.Pending(t.Context(), stream.In(0), "chain-c2") == 0 })
	stop()
	if n := again.Load(); n != 0 {
		t.Errorf("%d finished messages were handled again", n)
	}
}

func TestRestartOfTheBrokerRepeatsNothingThatIsFinished(t *testing.T) {
	server := testbroker.Start(t)
	b := server.Connect()
	if err := b.Migrate(t.Context(), stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	ledger := b.Ledger("c", 0)
	var mu sync.Mutex
	times := map[uint64]int{}
	consume(t, b, stream.ConsumerConfig{Stream: stream.In(0), Name: "chain-c", Filters: event.Filters(nil, nil)},
		stream.RunConfig{Ledger: ledger, Handle: func(ctx context.Context, h *stream.Held) {
			mu.Lock()
			times[h.Seq]++
			mu.Unlock()
			if err := ledger.Record(ctx, stream.Record{Seq: h.Seq, Outcome: "done"}); err != nil {
				t.Error(err)
			}
			_ = h.Settle(ctx, stream.Ack) // lost with the broker: the ledger knows
		}})
	publish(t, b, 50)
	server.Restart()
	waitFor(t, func() bool { return b.Ready(t.Context()) == nil })
	for i := range 50 {
		e := &event.Event{ID: "after" + strconv.Itoa(i), Source: "/a/b", Type: "a.t", Receiver: "a", SourceID: "b"}
		h, d := e.Encode()
		if _, err := b.Publish(t.Context(), stream.Message{Subject: e.Subject(), Header: h, Data: d}); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(times) == 100 })
	mu.Lock()
	defer mu.Unlock()
	for seq, n := range times {
		if n != 1 {
			t.Errorf("message %d was handled %d times", seq, n)
		}
	}
}

func TestStoppingGivesBackWhatHasNotBegun(t *testing.T) {
	b := testbroker.New(t)
	publish(t, b, 10)
	config := stream.ConsumerConfig{Stream: stream.In(0), Name: "chain-c", Filters: event.Filters(nil, nil), Start: stream.Start{Earliest: true}}
	began, finish := make(chan struct{}, 10), make(chan struct{})
	stop := consume(t, b, config, stream.RunConfig{Pull: 10, Slots: stream.NewSlots(1), Ledger: b.Ledger("c", 0),
		Handle: func(ctx context.Context, h *stream.Held) {
			began <- struct{}{}
			<-finish
			if err := h.Settle(ctx, stream.Ack); err != nil {
				t.Error(err)
			}
		}})
	<-began
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	defer func() { close(finish); <-stopped }()
	// What waits for the only slot is given back while the first still runs.
	var seen atomic.Int64
	consume(t, b, config, stream.RunConfig{Ledger: b.Ledger("c", 0), Handle: func(ctx context.Context, h *stream.Held) {
		seen.Add(1)
		if err := h.Settle(ctx, stream.Ack); err != nil {
			t.Error(err)
		}
	}})
	waitFor(t, func() bool { return seen.Load() == 9 })
}

func TestOlderGenerationDoesNotChangeAConsumer(t *testing.T) {
	b := testbroker.New(t)
	wide := event.Filters([]string{"github"}, nil)
	narrow := event.Filters([]string{"github"}, []event.Pattern{event.Any}[:0:0])
	narrow[0] = "belay.in.*.github.*.push"
	config := func(filters []string, generation int) stream.ConsumerConfig {
		return stream.ConsumerConfig{Stream: stream.In(0), Name: "chain-c", Filters: filters, Generation: generation}
	}
	for _, step := range []struct {
		filters    []string
		generation int
		want       []string
	}{
		{narrow, 1, narrow}, {wide, 2, wide}, {narrow, 1, wide}, {narrow, 2, narrow},
	} {
		if _, err := b.EnsureConsumer(t.Context(), config(step.filters, step.generation)); err != nil {
			t.Fatal(err)
		}
		if got := b.Filters(t.Context(), stream.In(0), "chain-c"); !slices.Equal(got, step.want) {
			t.Errorf("after generation %d: filters %v, want %v", step.generation, got, step.want)
		}
	}
}

func TestMessageThatComesBackAtOnceIsANewDelivery(t *testing.T) {
	b := testbroker.New(t)
	publish(t, b, 20)
	var mu sync.Mutex
	settled := map[uint64]int{}
	consume(t, b, stream.ConsumerConfig{Stream: stream.In(0), Name: "chain-c", Filters: event.Filters(nil, nil), Start: stream.Start{Earliest: true}},
		stream.RunConfig{Ledger: b.Ledger("c", 0), Handle: func(ctx context.Context, h *stream.Held) {
			verdict := stream.Ack
			mu.Lock()
			if settled[h.Seq]++; settled[h.Seq] < 5 {
				verdict = stream.Again(0)
			}
			mu.Unlock()
			if err := h.Settle(ctx, verdict); err != nil {
				t.Error(err)
			}
		}})
	waitFor(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for _, times := range settled {
			n += times
		}
		return n == 20*5
	})
}

func TestRescheduleReplacesOnlyWhatWasSeen(t *testing.T) {
	b := testbroker.New(t)
	wait, at := stream.RetryWait("c", stream.Place{Seq: 7}), time.Now().Add(time.Hour)
	m := stream.Message{Subject: stream.RetryDue("c", stream.Place{Seq: 7})}
	if err := b.Reschedule(t.Context(), m, wait, at, 0); err != nil {
		t.Fatal(err)
	}
	seen, err := b.Last(t.Context(), stream.Retry, wait)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Reschedule(t.Context(), m, wait, at, 0); !errors.Is(err, stream.ErrConflict) {
		t.Errorf("over a message that was not seen: %v", err)
	}
	if err := b.Reschedule(t.Context(), m, wait, at, seen.Seq); err != nil {
		t.Error(err)
	}
}

func TestLargeGroupOfRecordsIsWritten(t *testing.T) {
	b := testbroker.New(t)
	ledger := b.Ledger("c", 0)
	steps := make([]stream.StepRecord, 20)
	for i := range steps {
		steps[i] = stream.StepRecord{Name: fmt.Sprintf("%060d", i), Took: time.Second}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			if err := ledger.Record(ctx, stream.Record{Seq: uint64(i), Outcome: "done", Steps: steps}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestMessageThatWaitedForASlotWhileAnotherWorkerFinishedItIsNotHandled(t *testing.T) {
	server := testbroker.Start(t)
	b := server.Connect()
	if err := b.Migrate(t.Context(), stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	publish(t, b, 2)
	ledger := b.Ledger("c", 0)
	began, finish := make(chan struct{}, 2), make(chan struct{})
	var mu sync.Mutex
	var handled []uint64
	consume(t, b, stream.ConsumerConfig{Stream: stream.In(0), Name: "chain-c", Filters: event.Filters(nil, nil), Start: stream.Start{Earliest: true}},
		stream.RunConfig{Pull: 2, Slots: stream.NewSlots(1), Ledger: ledger, Handle: func(ctx context.Context, h *stream.Held) {
			mu.Lock()
			handled = append(handled, h.Seq)
			mu.Unlock()
			began <- struct{}{}
			<-finish
			if err := ledger.Record(ctx, stream.Record{Seq: h.Seq, Outcome: "done"}); err != nil {
				t.Error(err)
			}
			_ = h.Settle(ctx, stream.Ack) // perhaps of the connection before
		}})
	held := func() int {
		all, err := b.Standings(t.Context(), stream.In(0))
		if err != nil || len(all) != 1 {
			return -1
		}
		return all[0].Held
	}
	<-began
	waitFor(t, func() bool { return held() == 2 })
	// The broker is away for so long that it hands what waits here to somebody else.
	server.Restart()
	waitFor(t, func() bool { return b.Ready(t.Context()) == nil })
	mu.Lock()
	waits := 3 - handled[0]
	mu.Unlock()
	other := server.Connect()
	waitFor(t, func() bool { return other.Ready(t.Context()) == nil })
	if err := other.Ledger("c", 0).Record(t.Context(), stream.Record{Seq: waits, Outcome: "done"}); err != nil {
		t.Fatal(err)
	}
	close(finish)
	waitFor(t, func() bool { return held() == 0 })
	mu.Lock()
	defer mu.Unlock()
	if len(handled) != 1 {
		t.Errorf("handled: %v; message %d was finished by another worker", handled, waits)
	}
}

// What is slow does not wait where it cannot be handled elsewhere.
func TestSlowMessagesAreNotHeldInABurst(t *testing.T) {
	b := testbroker.New(t)
	publish(t, b, 60)
	began, finish := make(chan struct{}, 60), make(chan struct{})
	consume(t, b, stream.ConsumerConfig{Stream: stream.In(0), Name: "chain-c", Filters: event.Filters(nil, nil), Start: stream.Start{Earliest: true}},
		stream.RunConfig{Pull: 4, Burst: 50, Slots: stream.NewSlots(2), Ledger: b.Ledger("c", 0), Handle: func(ctx context.Context, h *stream.Held) {
			began <- struct{}{}
			<-finish
			_ = h.Settle(ctx, stream.Ack) // at the end the broker is gone
		}})
	t.Cleanup(func() { close(finish) })
	held := func() int {
		all, err := b.Standings(t.Context(), stream.In(0))
		if err != nil || len(all) != 1 {
			return -1
		}
		return all[0].Held
	}
	waitFor(t, func() bool { return held() == 4 })
	finish <- struct{}{}
	for range 3 { // the two that were handled, and the one after
		<-began
	}
	if n := held(); n > 4 {
		t.Errorf("%d are held, of which 2 are handled", n)
	}
}

// After a crash of a single broker nothing tells whom it had handed what: all that
// somebody may have begun with is touched, and of a backlog no more.
func TestMarkedLedgerTellsWhatSomebodyMayHaveBegunWith(t *testing.T) {
	b := testbroker.New(t)
	const n = 400
	publish(t, b, n)
	if err := b.MarkedLedger("x", 0).Begin(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	touched := map[uint64]bool{}
	consume(t, b, stream.ConsumerConfig{Stream: stream.In(0), Name: "x", Start: stream.Start{Earliest: true}},
		stream.RunConfig{Ledger: b.MarkedLedger("x", 0), Handle: func(ctx context.Context, h *stream.Held) {
			mu.Lock()
			touched[h.Seq] = h.Touched
			mu.Unlock()
			if err := h.Settle(ctx, stream.Ack); err != nil {
				t.Error(err)
			}
		}})
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(touched) == n })
	mu.Lock()
	defer mu.Unlock()
	for seq, is := range touched {
		if most := uint64(7 + stream.MarkAhead); is != (seq <= most) {
			t.Errorf("message %d: touched %v, begun up to %d", seq, is, most)
		}
	}
}
