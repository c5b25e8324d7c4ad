package stream

import (
	"context"
	"slices"
)

// The window of messages that is looked at first for a page of the newest. It
// doubles up to the largest while the page is not full.
const (
	firstWindow   = 1024
	largestWindow = 64 << 10
)

// Newest is a page of what a range holds, the newest first: of what read makes of
// the messages, without those that it leaves out. They stand before the message of
// a number (0: all); next is where the page after it ends, and 0 on the last one.
//
// The broker reads forwards only, so windows are read from the end. Of each, no
// more than a page is kept.
func Newest[T any](ctx context.Context, b *Broker, r Range, before uint64, limit int, read func(*Stored) (T, bool)) (page []T, next uint64, err error) {
	first, last, err := b.Bounds(ctx, r.Stream)
	if err != nil {
		return nil, 0, err
	}
	if !r.From.IsZero() {
		if first, err = b.SeqAt(ctx, r.Stream, r.From); err != nil {
			return nil, 0, err
		}
	}
	high := last + 1
	if before > 0 {
		high = min(high, before)
	}
	type at struct {
		seq  uint64
		read T
	}
	for size := uint64(firstWindow); high > first; size = min(2*size, largestWindow) {
		low := max(first, high-min(size, high))
		r.FromSeq = max(low, 1)
		var found []at
		if err := b.Scan(ctx, r, func(m *Stored) bool {
			if m.Seq >= high {
				return false
			}
			got, ok := read(m)
			if !ok {
				return true
			}
			// One more than fits tells that there is another page.
			if room := limit - len(page) + 1; len(found) == room {
				found = found[1:]
			}
			found = append(found, at{m.Seq, got})
			return true
		}); err != nil {
			return nil, 0, err
		}
		for _, f := range slices.Backward(found) {
			if len(page) == limit {
				return page, next, nil
			}
			page, next = append(page, f.read), f.seq
		}
		high = low
	}
	return page, 0, nil
}
