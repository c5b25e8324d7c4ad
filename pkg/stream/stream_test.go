package stream_test

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/testbroker"
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

// A program that starts while migrate is still at work, or before it has been run for
// this version, waits for what is missing.
func TestOpenWaitsForTheWholeTopology(t *testing.T) {
	server := testbroker.Start(t)
	b := server.Connect()
	if err := b.Migrate(t.Context(), stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteStream(t.Context(), "KV_PROGRESS"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := server.Connect().Open(ctx); err == nil || !strings.Contains(err.Error(), "KV_PROGRESS") {
		t.Fatalf("without a bucket: %v", err)
	}
	opened := make(chan error)
	go func() { opened <- server.Connect().Open(t.Context()) }()
	if err := b.Migrate(t.Context(), stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
}

func TestVolumes(t *testing.T) {
	b := testbroker.Start(t).Connect()
	if err := b.Migrate(t.Context(), stream.Topology{Shards: 2, MaxBytes: 2 << 20}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(t.Context(), stream.Message{Subject: "belay.in.1.github.default.push", Data: make([]byte, 1000)}); err != nil {
		t.Fatal(err)
	}
	all, err := b.Volumes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, v := range all {
		if v.Replicas != 1 || v.Current != 1 {
			t.Errorf("%s has %d of %d servers", v.Stream, v.Current, v.Replicas)
		}
		switch v.Stream {
		case "IN_1":
			found++
			if v.Bytes < 1000 || v.Limit != 1<<20 {
				t.Errorf("got %+v", v)
			}
		case "KV_STATE":
			found++
			if v.Limit != 0 {
				t.Errorf("got %+v", v)
			}
		}
	}
	if found != 2 {
		t.Errorf("IN_1 or KV_STATE is missing in %+v", all)
	}
}

func TestPublishEach(t *testing.T) {
	b := testbroker.New(t)
	var messages []stream.Message
	for i := range 150 {
		messages = append(messages, stream.Message{Subject: stream.OutDue(0, "sub", strconv.Itoa(i)), Data: []byte("x")})
	}
	if err := b.PublishEach(t.Context(), messages); err != nil {
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

func TestPublishEachTellsWhatIsNotStored(t *testing.T) {
	b := testbroker.New(t)
	stored := stream.Message{Subject: stream.OutDue(0, "s", "1")}
	for _, tc := range []struct {
		name string
		bad  stream.Message
		want error
	}{
		{"no stream has the subject", stream.Message{Subject: "elsewhere"}, stream.ErrUnavailable},
		{"headers over the limit", stream.Message{Subject: stream.OutDue(0, "s", "2"), Header: map[string][]string{"a": {strings.Repeat("x", 70<<10)}}}, stream.ErrTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := b.PublishEach(t.Context(), []stream.Message{stored, tc.bad, stored}); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
	if err := b.PublishEach(t.Context(), nil); err != nil {
		t.Errorf("nothing: %v", err)
	}
}

// Many who publish at once each get their own confirmations.
func TestPublishEachAtOnce(t *testing.T) {
	b := testbroker.New(t)
	const callers, each = 50, 20
	var running sync.WaitGroup
	for c := range callers {
		running.Go(func() {
			messages := make([]stream.Message, each)
			for i := range messages {
				messages[i] = stream.Message{Subject: stream.OutDue(0, strconv.Itoa(c), strconv.Itoa(i))}
			}
			if err := b.PublishEach(t.Context(), messages); err != nil {
				t.Error(err)
			}
			if _, err := b.Last(t.Context(), stream.Out(0), messages[each-1].Subject); err != nil {
				t.Errorf("the last of %d is not stored: %v", c, err)
			}
		})
	}
	running.Wait()
}

// What many store together is stored once each, and one that cannot be stored spoils it for
// those only that share its group.
func TestPublishTogether(t *testing.T) {
	b := testbroker.New(t)
	const good = 300
	message := func(i int) stream.Message { return stream.Message{Subject: stream.OutDue(0, "s", strconv.Itoa(i))} }
	tooLarge := message(good)
	tooLarge.Header = map[string][]string{"a": {strings.Repeat("x", 70<<10)}}
	var together sync.WaitGroup
	for i := range good {
		together.Go(func() {
			if err := b.PublishTogether(t.Context(), message(i)); err != nil {
				t.Error(err)
			}
		})
	}
	together.Wait()
	if first, last := b.State(t.Context(), stream.Out(0)); first != 1 || last != good {
		t.Errorf("stored from %d to %d, want all %d once", first, last, good)
	}
	if err := b.PublishTogether(t.Context(), tooLarge); !errors.Is(err, stream.ErrUnavailable) || !errors.Is(err, stream.ErrTooLarge) {
		t.Errorf("got %v, want an error after which to try again alone", err)
	}
	if err := b.PublishTogether(t.Context(), message(good)); err != nil {
		t.Error(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	// It may be stored in that moment.
	if err := b.PublishTogether(ended, message(good+1)); err != nil && !errors.Is(err, stream.ErrUnavailable) {
		t.Errorf("got %v for who waits no longer", err)
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
