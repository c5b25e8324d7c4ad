package worker

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/belay-hooks/belay/pkg/stream"
)

// An event may end the process that handles it: by all of its memory, by a fault in
// a library, by a call of exit. Nothing is recorded then, and the next worker gets
// it. So each beginning is counted in PROGRESS, before it, where an earlier one may
// have been without an end:
//
//	1st    not counted: nothing speaks against the event
//	2–4    counted, PROGRESS → handlers
//	5th    counted; nothing else of this process runs beside it
//	after  given up, reason crashed
//
// What ends, ends the count: in success, in a failure that is recorded, or by the
// worker's own stop.
const maxBegun = 5

// everybody is how many places there are in a worker: an event takes one, or all.
const everybody = math.MaxInt64

// doubtful tells whether the event may have been begun with, without an end that was
// recorded. A single broker that crashed counts deliveries from 1 again; see
// [stream.Held.Doubtful].
func (t *task) doubtful() bool {
	d := t.held.Deliveries
	return t.held.Doubtful || t.lease == nil && d > 1 && d != t.progress.Delivery+1
}

// enter waits for the event's place among those that this process works on, and
// counts its beginning where there is doubt. An event that has ended too many
// processes comes out as dead, one that may not begin as interrupted, and any other
// without an outcome, to be run until leave.
func (r *runner) enter(ctx context.Context, t *task) (leave func(), o outcome) {
	places, doubtful := int64(1), t.doubtful()
	if doubtful {
		p := &t.progress
		if p.Begun >= maxBegun {
			o.kind, o.reason = dead, reasonCrashed
			o.err = fmt.Errorf("the event was begun with %d times, at last alone, and each time the worker ended", p.Begun)
			if left := r.remaining(*p); len(left) > 0 {
				o.handler = left[0].Name
			}
			return func() {}, o
		}
		p.Begun++
		if t.held.Deliveries > 1 {
			p.Begun = max(p.Begun, 2) // the first time was not counted
		}
		if p.Begun >= maxBegun {
			places = everybody
			r.log.Warn("event was begun with several times without an end, and is run alone",
				"id", t.event.ID, "source", t.event.Source, "shard", t.Shard, "seq", t.Seq, "run", t.Run, "begun", p.Begun)
		}
	}
	if err := r.places.Acquire(ctx, places); err != nil {
		o.kind = interrupted
		return func() {}, o
	}
	leave = func() { r.places.Release(places) }
	if doubtful {
		if err := r.writeProgress(ctx, t); err != nil {
			o.kind = interrupted
		} else {
			t.counted = true
		}
	}
	return leave, o
}

// uncount takes back that the event was begun with here, which the worker's own stop
// has ended. Nothing else of an interrupted run is recorded.
func (r *runner) uncount(ctx context.Context, t *task) (stream.Verdict, error) {
	if !t.counted {
		return stream.GiveBack, nil
	}
	return stream.GiveBack, stream.WaitOut(ctx, func() error {
		p, revision, err := r.progress.Find(ctx, r.chain.Name, t.Place)
		if err != nil || revision != t.revision || p.Begun == 0 {
			return err
		}
		p.Begun--
		_, err = r.progress.Replace(ctx, r.chain.Name, t.Place, p, revision)
		if errors.Is(err, stream.ErrConflict) {
			return nil // somebody else goes on with the event
		}
		return err
	})
}
