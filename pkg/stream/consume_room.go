package stream

import (
	"context"
	"sync/atomic"
	"time"
)

// LargestMessage is, in bytes, more than any message of an event is: its body up to
// [MaxInline], its headers up to the broker's 64 KiB, and what the broker adds.
const LargestMessage = 1 << 20

// quickly is how soon as many as a run asks for are settled where it may hold as many
// as [RunConfig.Burst] says.
const quickly = 20 * time.Millisecond

// pace is how fast a run settles its messages. Only the goroutine that takes them uses
// it.
type pace struct {
	taken   int64 // messages since the start
	settled int64 // of them, when it was looked last
	looked  time.Time
	quick   bool
}

// look takes down how many are held now, and whether as many as are asked for were
// settled soon after the last look.
func (p *pace) look(held, ask int) {
	settled, now := p.taken-int64(held), time.Now()
	p.quick = settled-p.settled >= int64(ask) && now.Sub(p.looked) < quickly
	p.settled, p.looked = settled, now
}

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
	if r.pace.quick {
		most = max(r.Pull, r.Burst)
	}
	if ask == 0 {
		ask = (most + 1) / 2
	}
	r.holding.enough.Store(int64(most - ask)) // before it is looked whether there is room
	for {
		held := int(r.holding.messages.Load())
		bytes, fits := r.freeBytes()
		if most-held >= ask && fits {
			r.pace.look(held, ask)
			return most - held, bytes
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
