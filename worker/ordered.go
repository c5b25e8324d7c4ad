package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// orderedShard is one shard of an ordered chain that this process owns. One
// goroutine, run, has all its lines; handlers run in goroutines of their own, as
// many as there are slots.
type orderedShard struct {
	*runner
	shard  int
	lease  *stream.Lease
	taken  *stream.Taken
	lines  *lines
	high   uint64 // all up to here is finished or in the lines
	paused bool
	warned bool // that it is

	running int
	ended   chan ended
	floor   atomic.Uint64
}

// ended says how the first event of a line came out.
type ended struct {
	line *line
	// again after this delay, if blocked: its line waits for it.
	blocked bool
	wait    time.Duration
	total   int // attempts that are known of
}

// runOrdered runs the shards that fall to this process. See [stream.Broker.Split].
func (r *runner) runOrdered(fetch, work context.Context) {
	for fetch.Err() == nil {
		open, closed := r.gate.Open(fetch)
		r.config.Broker.Split(open, work, stream.SplitConfig{
			Name: r.chain.Name, Parts: len(r.incoming), Lease: r.config.Lease, Run: r.ownShard,
		})
		closed()
	}
}

// ownShard handles the events of a shard until fetch ends, or the shard is lost.
func (r *runner) ownShard(fetch, work context.Context, shard int, lease *stream.Lease) {
	fetch, stop := context.WithCancel(fetch)
	defer stop()
	work, lose := context.WithCancelCause(work)
	defer lose(nil)
	log := r.log.With("shard", shard)
	taken, err := r.incoming[shard].Take(fetch, r.ledgers[shard], func() { lose(stream.ErrNotOwner) })
	if err != nil {
		if fetch.Err() == nil {
			log.Warn("cannot take over a shard, trying again", "error", err)
		}
		return
	}
	o := &orderedShard{
		runner: r, shard: shard, lease: lease, taken: taken, lines: newLines(),
		ended: make(chan ended, r.chain.Concurrency),
	}
	log.Info("shard taken over")
	r.metrics.ordered.own(r.chain.Name, shard, true)
	defer r.metrics.ordered.own(r.chain.Name, shard, false)
	defer taken.Release()
	o.run(fetch, work)
	if errors.Is(context.Cause(work), stream.ErrNotOwner) {
		log.Warn("shard lost", "reason", context.Cause(work))
		return
	}
	log.Info("shard given up", "waiting", o.lines.all.Len())
}

// floorEvery is how often the broker is told how far all is finished. What a crash
// makes the next owner read again is recognised.
const floorEvery = time.Second

// measureEvery is how often the metrics are brought up to date.
const measureEvery = 250 * time.Millisecond

func (o *orderedShard) run(fetch, work context.Context) {
	var floors sync.WaitGroup
	fetch, stop := context.WithCancel(fetch)
	defer stop()
	floors.Go(func() {
		defer stop()
		o.keepFloor(fetch, work)
	})
	defer floors.Wait()
	wake := time.NewTimer(0)
	defer wake.Stop()
	measure := time.NewTicker(measureEvery)
	defer measure.Stop()
	for fetch.Err() == nil && work.Err() == nil {
		if due := o.lines.wake(time.Now()); !due.IsZero() {
			wake.Reset(time.Until(due))
		}
		var slots stream.Slots
		if o.lines.ready.Len() > 0 {
			slots = o.slots
		}
		select {
		case <-fetch.Done():
		case <-work.Done():
		case <-wake.C:
		case <-measure.C:
			o.measure()
		case h := <-o.events():
			o.take(h)
		case slots <- struct{}{}:
			o.begin(work, o.lines.next())
		case e := <-o.ended:
			o.settled(e)
		}
	}
	for o.running > 0 {
		o.settled(<-o.ended)
	}
	o.metrics.ordered.waiting(o.chain.Name, o.shard, newLines(), false)
}

// events is where the next event comes from; nil as long as there are enough.
func (o *orderedShard) events() <-chan *stream.Held {
	waiting, most, bytes := o.lines.waiting+len(o.lines.blocked), o.chain.MaxWaiting, o.chain.MaxWaitingBytes
	if o.paused {
		most, bytes = most-most/10, bytes-bytes/10 // so that it does not change with each event
	}
	full := waiting >= most || o.lines.bytes >= bytes
	if full != o.paused {
		o.paused = full
		o.measure()
	}
	switch {
	case full && !o.warned && len(o.lines.blocked) > 0:
		o.warned = true
		o.log.Warn("the shard takes no more events: too many wait behind those that are tried again",
			"shard", o.shard, "waiting", o.lines.waiting, "bytes", o.lines.bytes, "blocked_keys", len(o.lines.blocked))
	case o.warned && waiting < o.chain.MaxWaiting/2 && o.lines.bytes < o.chain.MaxWaitingBytes/2:
		o.warned = false
		o.log.Info("the shard takes events again", "shard", o.shard)
	}
	// What could begin is not hoarded.
	if full || o.lines.ready.Len() >= 2*o.chain.Concurrency {
		return nil
	}
	return o.taken.Events
}

// take puts an event that was read into its line.
func (o *orderedShard) take(h *stream.Held) {
	o.high = h.Seq
	if !h.Finished {
		// One that cannot be read is alone; handling it gives it up.
		key := "unreadable/" + strconv.FormatUint(h.Seq, 10)
		if e, err := event.Decode(h.Header, nil); err == nil {
			key = "key/" + e.OrderKey()
		}
		o.lines.add(key, h, size(h))
	}
	o.floor.Store(o.lines.floor(o.high))
}

// size is about how many bytes of memory a message takes.
func size(h *stream.Held) int64 {
	n := len(h.Subject) + len(h.Data)
	for name, values := range h.Header {
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	return int64(n)
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
	again := func(wait time.Duration) ended { return ended{line: ln, blocked: true, wait: wait, total: q.total} }
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
	wait, waits := o.handleOrdered(ctx, t, q.total).Waits()
	if waits {
		q.total = max(q.total, t.progress.Total)
		return again(wait)
	}
	return ended{line: ln}
}

// handleOrdered is handle for an event whose line waits for it: what becomes of it
// is told to the line and not to the broker. The event was tried total times.
func (r *runner) handleOrdered(ctx context.Context, t *task, total int) stream.Verdict {
	defer r.giveRoom(t)
	verdict, err := r.prepare(ctx, t)
	if err == nil && t.event != nil && t.progress.Total < total {
		err = errors.New("the progress that was read is an older one: a replica was asked that lags behind")
	}
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
		e.line.queue[0].total = e.total
		o.lines.block(e.line, time.Now().Add(e.wait))
	} else {
		o.lines.done(e.line)
	}
	o.floor.Store(o.lines.floor(o.high))
}

func (o *orderedShard) measure() {
	o.metrics.ordered.waiting(o.chain.Name, o.shard, o.lines, o.paused)
}

// keepFloor tells the broker now and then how far all is finished, until fetch or
// work ends, or the shard must be taken anew.
func (o *orderedShard) keepFloor(fetch, work context.Context) {
	ticker := time.NewTicker(floorEvery)
	defer ticker.Stop()
	for told := uint64(0); ; {
		select {
		case <-fetch.Done():
			return
		case <-work.Done():
			return
		case <-ticker.C:
		}
		if err := o.taken.Current(fetch); errors.Is(err, stream.ErrNotOwner) {
			o.log.Info("the shard is taken over anew", "shard", o.shard, "reason", err)
			return
		}
		floor := o.floor.Load()
		if floor == told || floor == 0 || !o.lease.Held() {
			continue
		}
		if err := o.taken.Settled(fetch, floor); err != nil {
			o.log.LogAttrs(fetch, slog.LevelDebug, "floor not told", slog.Int("shard", o.shard), slog.Any("error", err))
			continue
		}
		told = floor
	}
}
