package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/belay-hooks/belay/pkg/stream"
)

// ended says how the first event of a line came out.
type ended struct {
	line *line
	// again after this delay, if blocked: its line waits for it.
	blocked bool
	wait    time.Duration
}

// begin handles the first event of a line, in a slot that was taken.
func (o *orderedShard) begin(work context.Context, ln *line) {
	o.running++
	q := ln.queue[0]
	q.tries++
	first := *q
	go func() {
		defer func() { <-o.slots }()
		o.ended <- o.handleFirst(work, ln, first)
	}()
}

// handleFirst takes the first event of a line to its settlement.
func (o *orderedShard) handleFirst(ctx context.Context, ln *line, q queued) ended {
	again := func(wait time.Duration) ended { return ended{line: ln, blocked: true, wait: wait} }
	held := q.held
	if ctx.Err() != nil || !o.lease.Held() {
		return again(0) // the shard is being left
	}
	if held == nil {
		var err error
		held, err = o.taken.Read(ctx, q.seq)
		switch {
		case errors.Is(err, stream.ErrNotFound):
			held = &stream.Held{Stream: stream.In(o.shard), Seq: q.seq} // it is given up as unreadable
		case err != nil:
			o.log.Warn("event not read, trying again", "seq", q.seq, "shard", o.shard, "error", err)
			return again(time.Second)
		}
	}
	held.Deliveries, held.Doubtful = q.tries, q.doubtful && q.tries == 1
	t := &task{Place: stream.Place{Shard: o.shard, Seq: q.seq}, held: held, touched: q.touched, lease: o.lease}
	if wait, waits := o.handleOrdered(ctx, t).Waits(); waits {
		return again(wait)
	}
	return ended{line: ln}
}

// handleOrdered is handle for an event whose line waits for it: what becomes of it
// is told to the line and not to the broker.
func (r *runner) handleOrdered(ctx context.Context, t *task) stream.Verdict {
	defer r.giveRoom(t)
	verdict, err := r.prepare(ctx, t)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			r.log.Warn("event not handled yet, trying again", "seq", t.Seq, "shard", t.Shard, "error", err)
		}
		return stream.Again(time.Second)
	case t.event == nil:
		r.say(ctx, t, stream.Answer{}) // nothing is run, so there is nothing to wait for
		return verdict
	}
	if early := time.Until(t.progress.Until); early > 0 {
		return stream.Again(early) // another owner has tried it
	}
	return r.work(ctx, t)
}

// holdBack keeps where an ordered chain stands in an event, and when it is tried
// again: whoever owns the shard then.
func (r *runner) holdBack(ctx context.Context, t *task, wait time.Duration) (stream.Verdict, error) {
	t.progress.Until = time.Now().Add(wait).UTC()
	if !t.mine() {
		return stream.Verdict{}, fmt.Errorf("the progress is not written: %w", stream.ErrNotOwner)
	}
	return stream.Again(wait), r.writeProgress(ctx, t)
}

// mine tells whether handlers may still run on the event: whether the shard of an
// ordered chain still belongs to this process.
func (t *task) mine() bool { return t.lease == nil || t.lease.Held() }

func (o *orderedShard) settled(e ended) {
	o.running--
	if e.blocked {
		o.lines.block(e.line, time.Now().Add(e.wait))
	} else {
		o.lines.done(e.line)
	}
	o.floor.Store(o.lines.floor(o.high))
}
