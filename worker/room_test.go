package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

// Bodies that stand in parts are read for as many events at once as there is room
// for, and one that is larger than the room is handled all the same.
func TestLargeBodiesInHandAreBounded(t *testing.T) {
	b := testbroker.New(t)
	const large = 3 * stream.MaxInline
	for i := range 8 {
		size := large
		if i == 5 {
			size = 8 * large
		}
		if _, err := b.StoreEvent(t.Context(), &event.Event{
			ID: fmt.Sprint(i), Source: "/github/default", Type: "github.push", Receiver: "github", SourceID: "default",
			Body: bytes.Repeat([]byte("x"), size),
		}); err != nil {
			t.Fatal(err)
		}
	}
	var inHand, most atomic.Int64
	proceed, ended := make(chan struct{}), make(chan struct{}, 8)
	start(t, worker.Config{
		// One half of it is for bodies in parts: room for two.
		Broker: b, MaxBytes: 2 * 2 * large,
	}, handler.Chain{Name: "c", Earliest: true, Steps: []handler.Step{{
		Name: "s", Handler: handler.Do(func(_ context.Context, e *event.Event) error {
			now := inHand.Add(1)
			for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
			}
			if len(e.Body) < large {
				t.Errorf("event %s has %d bytes", e.ID, len(e.Body))
			}
			<-proceed
			inHand.Add(-1)
			ended <- struct{}{}
			return nil
		}),
	}}})
	t.Cleanup(func() { close(proceed) }) // before the worker is stopped, whatever happens
	waitFor(t, func() bool {
		all, err := b.Backlogs(t.Context())
		return err == nil && inHand.Load() == 2 && len(all) == 1 && all[0].Shards[0].InHand == 8
	})
	for range 8 {
		proceed <- struct{}{}
		<-ended
	}
	if most.Load() > 2 {
		t.Errorf("%d events with large bodies were in hand at once, want 2 at most", most.Load())
	}
}
