package worker

import (
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/belay-hooks/belay/pkg/stream"
)

// The lines against a model of them that is slow and plain: all events in a list.
func TestLinesKeepOrderFloorAndBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type entry struct {
			key   string
			seq   uint64
			state string // of the first of its key: ready, running, blocked
			due   int
		}
		l, now := newLines(), time.Unix(0, 0)
		var model []*entry
		running := map[string]*line{}
		firstOf := func(key string) *entry {
			for _, e := range model {
				if e.key == key {
					return e
				}
			}
			return nil
		}
		seq, clock := uint64(0), 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				seq += rapid.Uint64Range(1, 3).Draw(t, "gap")
				e := &entry{key: "k" + strconv.Itoa(rapid.IntRange(0, 4).Draw(t, "key")), seq: seq, state: "ready"}
				l.add(e.key, &stream.Held{Seq: seq}, rapid.Int64Range(0, maxKeptBytes).Draw(t, "size"))
				model = append(model, e)
			},
			"begin": func(t *rapid.T) {
				ln := l.next()
				if ln == nil {
					for _, e := range model {
						if firstOf(e.key) == e && e.state == "ready" {
							t.Fatalf("%s is ready, and not begun", e.key)
						}
					}
					return
				}
				first := firstOf(ln.key)
				if first == nil || first.seq != ln.queue[0].seq || first.state != "ready" {
					t.Fatalf("began with %d of %s, want %+v", ln.queue[0].seq, ln.key, first)
				}
				first.state = "running"
				running[ln.key] = ln
			},
			"end": func(t *rapid.T) {
				for key, ln := range running {
					first := firstOf(key)
					if rapid.Bool().Draw(t, "blocked") {
						first.state, first.due = "blocked", clock+rapid.IntRange(0, 5).Draw(t, "wait")
						l.block(ln, now.Add(time.Duration(first.due)))
					} else {
						l.done(ln)
						for i, e := range model {
							if e == first {
								model = append(model[:i], model[i+1:]...)
								break
							}
						}
					}
					delete(running, key)
					return
				}
			},
			"wake": func(t *rapid.T) {
				clock += rapid.IntRange(0, 3).Draw(t, "passes")
				l.wake(now.Add(time.Duration(clock)))
				for _, e := range model {
					if e.state == "blocked" && e.due <= clock {
						e.state = "ready"
					}
				}
			},
			"": func(t *rapid.T) {
				floor, waiting := seq, 0
				if len(model) > 0 {
					floor = model[0].seq - 1
				}
				for _, e := range model {
					if firstOf(e.key) != e {
						waiting++
					}
				}
				if l.floor(seq) != floor || l.waiting != waiting {
					t.Fatalf("floor %d, waiting %d; want %d, %d", l.floor(seq), l.waiting, floor, waiting)
				}
				var bytes, kept, behind int64
				for _, ln := range l.byKey {
					for i, q := range ln.queue {
						if q.held != nil {
							kept += q.size
							if i > 0 {
								behind += q.size
							}
						}
						if i > 0 {
							bytes += q.size
						}
					}
				}
				for _, ln := range l.blocked {
					bytes += ln.queue[0].size
				}
				if l.bytes != bytes || l.kept != kept {
					t.Fatalf("bytes %d, kept %d; want %d, %d", l.bytes, l.kept, bytes, kept)
				}
				if behind > maxKeptBytes {
					t.Fatalf("%d bytes of waiting events are held in memory", behind)
				}
			},
		})
	})
}
