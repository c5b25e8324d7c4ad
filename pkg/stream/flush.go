package stream

import (
	"context"
	"fmt"
)

// newFlush groups the flushes of writers that wait at the same time. A write
// that was confirmed before a flush began is covered by it, so a group is
// flushed only after the last of its members has joined.
//
// A flush that failed may have lost data that the operating system will never
// tell of again, so nothing is promised from then on: every later write fails
// too, until the process is started again and reads what is really there.
func newFlush(flush func() error) *groups[struct{}] {
	var failed error
	return &groups[struct{}]{commit: func([]struct{}) error {
		if failed == nil {
			if err := flush(); err != nil {
				failed = fmt.Errorf("%w: the data directory could not be flushed, restart after the disk is repaired: %w", ErrUnavailable, err)
			}
		}
		return failed
	}}
}

// flushed returns once all that the broker has confirmed is on stable storage. If
// ctx ends before, that is not known.
func (b *Broker) flushed(ctx context.Context) error {
	if b.flush == nil {
		return nil
	}
	err := b.flush.addWithin(ctx, struct{}{})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: the data directory was not flushed in time: %w", ErrUnavailable, err)
	}
	return err
}
