package worker

import (
	"container/heap"
	"container/list"
	"time"

	"github.com/belay-hooks/belay/pkg/stream"
)

// lines are the events of a shard that an ordered chain has been told of and has
// not finished: one line a key, whose first event is handled while the others wait.
// A line is in one state:
//
//	ready    its first event may begin     in ready
//	running  its first event is handled    nowhere
//	blocked  its first event is due later  in blocked
//
// An event that waits costs no goroutine and no slot, and its body is only kept
// where there is room.
type lines struct {
	byKey   map[string]*line
	ready   list.List // of *line
	blocked dueHeap
	all     list.List // of *queued, by seq: the first one holds the floor

	waiting int   // events that are not the first of their line
	bytes   int64 // of those and of the blocked ones
	kept    int64 // bytes of events that are held in memory
}

type line struct {
	key   string
	queue []*queued // the first is at work, or the next
	due   time.Time // of a blocked line
}

// queued is an event in its line.
type queued struct {
	seq      uint64
	size     int64
	touched  bool         // the chain may have worked on it before
	doubtful bool         // an owner before may have begun with it
	tries    int          // how often it was begun here
	held     *stream.Held // nil: to be read again
	place    *list.Element
}

// maxKeptBytes bounds the bytes of events that a shard holds in memory while they
// wait. What is above is read again from the log when its turn comes.
const maxKeptBytes = 16 << 20

func newLines() *lines { return &lines{byKey: make(map[string]*line)} }

// add puts an event at the end of its key's line. Events come in stored order.
func (l *lines) add(key string, h *stream.Held, size int64) {
	q := &queued{seq: h.Seq, size: size, touched: h.Touched, doubtful: h.Doubtful, held: h}
	q.place = l.all.PushBack(q)
	ln := l.byKey[key]
	if ln == nil {
		ln = &line{key: key}
		l.byKey[key] = ln
		l.ready.PushBack(ln)
	} else {
		l.waiting++
		l.bytes += size
	}
	ln.queue = append(ln.queue, q)
	l.kept += size
	if l.kept > maxKeptBytes && len(ln.queue) > 1 {
		l.drop(q)
	}
}

// drop forgets the body of an event that waits.
func (l *lines) drop(q *queued) {
	if q.held != nil {
		q.held = nil
		l.kept -= q.size
	}
}

// next takes the line that has been ready for longest; nil: none is.
func (l *lines) next() *line {
	e := l.ready.Front()
	if e == nil {
		return nil
	}
	return l.ready.Remove(e).(*line)
}

// done removes the first event of a running line, whose next one is then ready.
func (l *lines) done(ln *line) {
	q := ln.queue[0]
	l.drop(q)
	l.all.Remove(q.place)
	ln.queue[0] = nil
	ln.queue = ln.queue[1:]
	if len(ln.queue) == 0 {
		delete(l.byKey, ln.key)
		return
	}
	l.waiting--
	l.bytes -= ln.queue[0].size
	l.ready.PushBack(ln)
}

// block lets a running line wait until its first event is due.
func (l *lines) block(ln *line, due time.Time) {
	q := ln.queue[0]
	q.touched = true
	l.drop(q)
	l.bytes += q.size
	ln.due = due
	heap.Push(&l.blocked, ln)
}

// wake makes ready what is due, and returns when the next is; zero: nothing is
// blocked.
func (l *lines) wake(now time.Time) time.Time {
	for len(l.blocked) > 0 {
		if ln := l.blocked[0]; ln.due.After(now) {
			return ln.due
		}
		ln := heap.Pop(&l.blocked).(*line)
		l.bytes -= ln.queue[0].size
		l.ready.PushBack(ln)
	}
	return time.Time{}
}

// floor is up to where all is finished, if all up to high has been added.
func (l *lines) floor(high uint64) uint64 {
	if first := l.all.Front(); first != nil {
		return first.Value.(*queued).seq - 1
	}
	return high
}

// dueHeap is a heap of blocked lines, the one that is due first on top.
type dueHeap []*line

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for container/heap.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(*line)) }

// Pop is for container/heap.
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	ln := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return ln
}
