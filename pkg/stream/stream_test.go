package stream_test

import (
	"bytes"
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

func TestMigrateIsIdempotentAndKeepsTheShards(t *testing.T) {
	server := testbroker.Start(t)
	b := server.Connect()
	ctx := t.Context()
	for range 2 {
		if err := b.Migrate(ctx, stream.Topology{Shards: 3}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Migrate(ctx, stream.Topology{Shards: 2}); err == nil {
		t.Error("another number of shards was accepted")
	}
	if err := b.Migrate(ctx, stream.Topology{Window: 2 * time.Hour, Retention: time.Hour}); err == nil {
		t.Error("a window longer than the retention was accepted")
	}
	other := server.Connect()
	if err := other.Open(ctx); err != nil {
		t.Fatal(err)
	}
	if other.Shards() != 3 {
		t.Errorf("shards: got %d, want 3", other.Shards())
	}
}

func TestManyProgramsMigrateAtOnce(t *testing.T) {
	server := testbroker.Start(t)
	var wg sync.WaitGroup
	for range 8 {
		b := server.Connect()
		wg.Go(func() {
			if err := b.Migrate(t.Context(), stream.Topology{Shards: 3}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestOpenSaysThatTheBrokerIsEmpty(t *testing.T) {
	b := testbroker.Start(t).Connect()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := b.Open(ctx)
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestEventIsStoredOnceAndReadBack(t *testing.T) {
	b := testbroker.NewSharded(t, 3)
	e := &event.Event{
		ID: "72d3162e", Source: "/github/default", Type: "github.weird name.ünï\x00\n*.>",
		Receiver: "github", SourceID: "default", Key: "octo/hello", ContentType: "application/json; charset=\"utf-8\"",
		Header: map[string][]string{"X-Odd": {" spaces ", "line\r\nbreak", "", "100%", "\xff\xfe"}},
		Body:   []byte("\x00\xff body\r\n"),
		Time:   time.Date(2026, 11, 22, 1, 2, 3, 4, time.UTC),
	}
	header, data := e.Encode()
	m := stream.Message{Subject: e.Subject(), Header: header, Data: data, ID: e.MsgID()}
	first, err := b.Publish(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.Publish(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if first.Duplicate || !second.Duplicate || second.Seq != first.Seq {
		t.Errorf("got %+v then %+v", first, second)
	}
	stored, err := b.Get(t.Context(), first.Stream, first.Seq)
	if err != nil {
		t.Fatal(err)
	}
	got, err := event.Decode(stored.Header, stored.Data)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", e) {
		t.Errorf("read back\n%+v\nwant\n%+v", got, e)
	}
}

func TestBatchIsStoredWhole(t *testing.T) {
	b := testbroker.New(t)
	var batch []stream.Message
	for i := range 150 {
		batch = append(batch, stream.Message{Subject: stream.OutDue(0, "sub", strconv.Itoa(i)), Data: []byte("x")})
	}
	if err := b.PublishBatch(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	last, err := b.Last(t.Context(), stream.Out(0), "belay.out.0.due.>")
	if err != nil {
		t.Fatal(err)
	}
	if last.Subject != stream.OutDue(0, "sub", "149") || last.Seq != 150 {
		t.Errorf("last is %s at %d", last.Subject, last.Seq)
	}
	if err := b.Purge(t.Context(), stream.Out(0), "belay.out.0.due.sub.149"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Last(t.Context(), stream.Out(0), "belay.out.0.due.sub.149"); !errors.Is(err, stream.ErrNotFound) {
		t.Errorf("after the purge: %v", err)
	}
}

func TestBatchAcrossStreamsIsRefused(t *testing.T) {
	b := testbroker.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := b.PublishBatch(ctx, []stream.Message{
		{Subject: stream.OutDue(0, "s", "1")}, {Subject: stream.NotifySubject("default")},
	})
	if err == nil {
		t.Error("a batch over two streams was accepted")
	}
}

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
		m := stream.Message{Subject: stream.RetryDue("c", 0, 7), Header: map[string][]string{"x-attempt": {"2"}}, Data: []byte(body)}
		if err := b.Schedule(t.Context(), m, stream.RetryWait("c", 0, 7), at); err != nil {
			t.Fatal(err)
		}
	}
	h := <-due
	if early := time.Until(at); early > 0 {
		t.Errorf("came %v early", early)
	}
	if string(h.Data) != "kept" || h.Header["x-attempt"][0] != "2" || h.Subject != stream.RetryDue("c", 0, 7) {
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

func TestBucket(t *testing.T) {
	server := testbroker.Start(t)
	b := server.Connect()
	ctx := t.Context()
	if err := b.Migrate(ctx, stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	bucket := b.Bucket(stream.Subscriptions)
	if _, err := bucket.Get(ctx, "a.1"); !errors.Is(err, stream.ErrNotFound) {
		t.Errorf("missing key: %v", err)
	}
	rev, err := bucket.Create(ctx, "a.1", []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Create(ctx, "a.1", []byte("again")); !errors.Is(err, stream.ErrConflict) {
		t.Errorf("create of a key that exists: %v", err)
	}
	if _, err := bucket.Update(ctx, "a.1", []byte("two"), rev+7); !errors.Is(err, stream.ErrConflict) {
		t.Errorf("update at a wrong revision: %v", err)
	}
	if _, err := bucket.Update(ctx, "a.1", []byte("two"), rev); err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	state, resets := map[string]string{}, 0
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		bucket.Watch(ctx, stream.Watcher{
			Reset: func(all []stream.Entry) {
				mu.Lock()
				defer mu.Unlock()
				clear(state)
				resets++
				for _, e := range all {
					state[e.Key] = string(e.Value)
				}
			},
			Put:    func(e stream.Entry) { mu.Lock(); defer mu.Unlock(); state[e.Key] = string(e.Value) },
			Delete: func(key string, _ uint64) { mu.Lock(); defer mu.Unlock(); delete(state, key) },
		})
	}()
	holds := func(want map[string]string) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return fmt.Sprint(state) == fmt.Sprint(want) }
	}
	waitFor(t, holds(map[string]string{"a.1": "two"}))
	if _, err := bucket.Put(ctx, "b.1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := bucket.Delete(ctx, "a.1"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, holds(map[string]string{"b.1": "x"}))
	server.Restart()
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return resets > 1 })
	waitFor(t, holds(map[string]string{"b.1": "x"}))
	if keys, err := bucket.Keys(ctx, "b.*"); err != nil || len(keys) != 1 {
		t.Errorf("keys: %v %v", keys, err)
	}
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	// A message that was on its way when the broker died is handed out again after
	// its deadline of 30 s.
	deadline := time.After(45 * time.Second)
	for !condition() {
		select {
		case <-deadline:
			t.Fatal("did not happen in time")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestLargeBodyIsStoredInPartsOnce(t *testing.T) {
	b := testbroker.NewSharded(t, 3)
	for _, size := range []int{stream.MaxInline, stream.MaxInline + 1, 3 << 20, 25 << 20} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			body := make([]byte, size)
			for i := range body {
				body[i] = byte(i * 7)
			}
			e := &event.Event{ID: "e" + strconv.Itoa(size), Source: "/a/b", Type: "a.t", Receiver: "a", SourceID: "b", Body: body}
			first, err := b.StoreEvent(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			if second, err := b.StoreEvent(t.Context(), e); err != nil || !second.Duplicate {
				t.Errorf("stored again: %+v %v", second, err)
			}
			m, err := b.Get(t.Context(), first.Stream, first.Seq)
			if err != nil {
				t.Fatal(err)
			}
			if m.Subject != e.Subject() {
				t.Errorf("the receipt names %s", m.Subject)
			}
			got, err := b.ReadEvent(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Body, body) || got.ID != e.ID {
				t.Errorf("read back %d bytes of %s", len(got.Body), got.ID)
			}
			// Nothing is behind the event: what was stored again left no part.
			if last, err := b.Last(t.Context(), first.Stream, ">"); err != nil || last.Seq != first.Seq {
				t.Errorf("last message: %+v %v", last, err)
			}
		})
	}
}

func TestPartsThatAreGoneOrWrongAreTold(t *testing.T) {
	b := testbroker.New(t)
	e := &event.Event{ID: "e", Source: "/a/b", Type: "a.t", Receiver: "a", SourceID: "b", Body: make([]byte, 1<<20)}
	receipt, err := b.StoreEvent(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	m, err := b.Get(t.Context(), receipt.Stream, receipt.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Purge(t.Context(), receipt.Stream, "belay.part.>"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ReadEvent(t.Context(), m); !errors.Is(err, stream.ErrNotFound) {
		t.Errorf("parts gone: %v", err)
	}
	for _, parts := range []string{"", "x", "0", "-1", "99999", "70000000000"} {
		m.Header["belay-parts"] = []string{parts}
		if _, err := b.ReadEvent(t.Context(), m); !errors.Is(err, stream.ErrUnreadable) {
			t.Errorf("parts %q: %v", parts, err)
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

func TestWhatTheBrokerRefusesIsToldApart(t *testing.T) {
	b := testbroker.New(t)
	for _, tc := range []struct {
		name   string
		header map[string][]string
		want   error
	}{
		{"headers over its limit", map[string][]string{"a": {string(bytes.Repeat([]byte("x"), 70<<10))}}, stream.ErrTooLarge},
		{
			"a batch whose first message was lost with the connection",
			map[string][]string{"Nats-Batch-Id": {"id"}, "Nats-Batch-Sequence": {"2"}, "Nats-Batch-Commit": {"1"}},
			stream.ErrUnavailable,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := b.Publish(t.Context(), stream.Message{Subject: "belay.in.0.a.b.t", Header: tc.header})
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRescheduleReplacesOnlyWhatWasSeen(t *testing.T) {
	b := testbroker.New(t)
	wait, at := stream.RetryWait("c", 0, 7), time.Now().Add(time.Hour)
	m := stream.Message{Subject: stream.RetryDue("c", 0, 7)}
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
