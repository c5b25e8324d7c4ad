package console

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// What comes in while it is looked how far a replay is does not make that end: its
// events would never be handled again.
func TestReplayHasNotEndedWhileOthersComeIn(t *testing.T) {
	b := testbroker.New(t)
	store := func(ctx context.Context, n int) error {
		_, err := b.StoreEvent(ctx, &event.Event{
			ID: strconv.Itoa(n), Source: "/github/eu", SourceID: "eu", Receiver: "github", Type: "github.push", Time: time.Now(),
		})
		return err
	}
	if err := store(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	until := time.Now()
	j := &standing.Job{ID: "r", Kind: standing.JobReplay, Subjects: event.Filters(nil, nil), Borders: []uint64{1}, Ready: true}
	if _, err := b.EnsureConsumer(t.Context(), stream.ConsumerConfig{
		Stream: stream.In(0), Name: j.ReplayConsumer(), Filters: j.Subjects, Start: stream.Start{Earliest: true},
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var storing sync.WaitGroup
	for sender := range 8 {
		storing.Go(func() {
			for n := sender + 1; ctx.Err() == nil; n += 8 {
				if err := store(ctx, n); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer storing.Wait()
	defer cancel()
	d := &driver{Server: &Server{broker: b}}
	for look := range 40 {
		left, err := d.leftOf(t.Context(), j)
		if err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			t.Fatalf("look %d: nothing is left of one event that nobody has taken", look)
		}
		one := &standing.Job{Kind: standing.JobReplay, Subjects: j.Subjects, Filter: standing.Filter{Until: until}}
		if err := d.measure(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		if one.Total == 0 {
			t.Fatalf("look %d: a replay of one event is of none", look)
		}
	}
}
