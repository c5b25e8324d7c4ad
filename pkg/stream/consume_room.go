package stream

import (
	"context"
)

// reserve waits until there is room for as many as are asked for, and takes all
// there is. It returns 0 when open has ended.
func (r *run) reserve(open context.Context) int {
	n, ask := 0, r.Ask
	if ask == 0 {
		ask = (r.Pull + 1) / 2
	}
	for ; n < ask; n++ {
		select {
		case <-open.Done():
			r.release(n)
			return 0
		case r.room <- struct{}{}:
		}
	}
	for ; ; n++ {
		select {
		case r.room <- struct{}{}:
		default:
			return n
		}
	}
}

// LargestMessage is, in bytes, more than any message of an event is: its body up to
// [MaxInline], its headers up to the broker's 64 KiB, and what the broker adds.
const LargestMessage = 1 << 20

// freeBytes waits until there is room for any message, and returns how many bytes
// there is room for, 0 if for any number; it is not ok when open has ended.
func (r *run) freeBytes(open context.Context) (free int64, ok bool) {
	if r.Bytes == 0 {
		return 0, true
	}
	for {
		held := r.bytes.Load()
		if free := max(r.Bytes, LargestMessage) - held; free >= LargestMessage || held == 0 {
			return max(free, LargestMessage), true
		}
		select {
		case <-open.Done():
			return 0, false
		case <-r.freed:
		}
	}
}

// hold counts the bytes of a message that is held, or is not any more.
func (r *run) hold(h *Held, sign int64) {
	r.bytes.Add(sign * int64(len(h.Data)))
	if sign < 0 && r.Bytes > 0 {
		select {
		case r.freed <- struct{}{}:
		default:
		}
	}
}

func (r *run) release(n int) {
	for range n {
		<-r.room
	}
}
