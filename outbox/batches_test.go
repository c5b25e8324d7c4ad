package outbox

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/belay-hooks/belay/pkg/stream"
)

func TestSharedBatches(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := &batches{broker: h.broker}
	const writers, each = 30, 90 // more than one batch holds
	b.writing.Lock()             // so that all gather first
	var done sync.WaitGroup
	for w := range writers {
		messages := make([]stream.Message, each)
		for i := range messages {
			messages[i] = stream.Message{Subject: stream.OutDue(0, "sub_1", fmt.Sprintf("%d-%d", w, i)), Data: []byte("x")}
		}
		done.Go(func() {
			if err := b.publish(t.Context(), messages); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "the last batch is gathering", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.next != nil && len(b.next.messages) > each
	})
	b.writing.Unlock()
	done.Wait()
	for w := range writers {
		for _, i := range []int{0, each - 1} {
			if _, err := h.broker.Last(t.Context(), stream.Out(0), stream.OutDue(0, "sub_1", fmt.Sprintf("%d-%d", w, i))); err != nil {
				t.Errorf("message %d of %d: %v", i, w, err)
			}
		}
	}
}

// All who share a batch that is refused are told so.
func TestSharedBatchFails(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := &batches{broker: h.broker}
	b.writing.Lock()
	failed := make(chan error, 2)
	for w := range 2 {
		go func() {
			failed <- b.publish(t.Context(), []stream.Message{
				{Subject: stream.OutDue(0, "sub_1", strconv.Itoa(w))},
				{Subject: stream.OutCursor(0, strconv.Itoa(w)), ID: "the same"},
			})
		}()
	}
	eventually(t, "both share a batch", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.next != nil && len(b.next.messages) == 4
	})
	b.writing.Unlock()
	for range 2 {
		if err := <-failed; err == nil {
			t.Error("a refused batch is reported as stored")
		}
	}
	if _, err := h.broker.Last(t.Context(), stream.Out(0), "belay.out.>"); !errors.Is(err, stream.ErrNotFound) {
		t.Errorf("a part of it is stored: %v", err)
	}
}
