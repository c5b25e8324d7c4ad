package stream

import (
	"context"
	"sync/atomic"
	"time"
)

// LargestMessage is, in bytes, more than any message of an event is: its body up to
// [MaxInline], its headers up to the broker's 64 KiB, and what the broker adds.
const LargestMessage = 1 << 20

// quickly is how soon what a run has asked for is settled where it may hold as many as
// [RunConfig.Burst] says.
const quickly = 20 * time.Millisecond

// holding is what a run holds.
type holding struct {
	messages atomic.Int64
	bytes    atomic.Int64
	// enough is how many messages may be held when more are asked for.
	enough atomic.Int64
	freed  chan struct{} // tells that there may be room
}

func (h *holding) add(m *Held) {
	h.messages.Add(1)
	h.bytes.Add(int64(len(m.Data)))
}

func (h *holding) drop(m *Held) {
	h.bytes.Add(-int64(len(m.Data)))
	if h.messages.Add(-1) <= h.enough.Load() {
		select {
		case h.freed <- struct{}{}:
		default:
		}
	}
}

// awaitRoom waits until there is room for as many messages as are asked for at least,
// and returns for how many there is, and for how many bytes, 0 for any number. When
// open has ended there is room for none.
func (r *run) awaitRoom(open context.Context) (messages int, bytes int64) {
	most, ask := r.Pull, r.Ask
	if r.quick {
		most = max(r.Pull, r.Burst)
	}
	if ask == 0 {
		ask = (most + 1) / 2
	}
	r.holding.enough.Store(int64(most - ask)) // before it is looked whether there is room
	began := time.Now()
	for {
		free := most - int(r.holding.messages.Load())
		bytes, fits := r.freeBytes()
		if free >= ask && fits {
			r.quick = time.Since(began) < quickly
			return free, bytes
		}
		select {
		case <-open.Done():
			return 0, 0
		case <-r.holding.freed:
		}
	}
}

// freeBytes is how many bytes there is room for; it is not ok if that is not enough for
// any message.
func (r *run) freeBytes() (free int64, ok bool) {
	if r.Bytes == 0 {
		return 0, true
	}
	held := r.holding.bytes.Load()
	free = max(r.Bytes, LargestMessage) - held
	return max(free, LargestMessage), free >= LargestMessage || held == 0
}
