package worker

import (
	"context"
	"errors"
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
