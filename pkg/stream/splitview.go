package stream

import (
	"context"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// splitView is what the bucket holds about one split, as far as this process
// knows. It may lag behind: what is done on its word is a compare-and-set.
//
//	member.<name>.<id>    here, written again and again, or gone
//	owner.<name>.<part>   the id of its owner; empty: nobody
type splitView struct {
	name    string
	parts   int
	lease   time.Duration
	changed chan struct{}

	mu      sync.Mutex
	loaded  bool
	entries map[string]seen // by key
}

// seen is an entry, and since when it has been as it is, by the clock of this
// process.
type seen struct {
	value    string
	revision uint64
	since    time.Time
}

func newSplitView(c SplitConfig) *splitView {
	return &splitView{
		name: c.Name, parts: c.Parts, lease: c.Lease,
		changed: make(chan struct{}, 1), entries: make(map[string]seen),
	}
}

func (v *splitView) watch(ctx context.Context, bucket *Bucket) {
	bucket.WatchFiltered(ctx, "*."+v.name+".*", Watcher{
		Reset: func(entries []Entry) {
			v.mu.Lock()
			defer v.mu.Unlock()
			before := v.entries
			v.entries = make(map[string]seen, len(entries))
			for _, e := range entries {
				if s, ok := before[e.Key]; ok && s.revision == e.Revision {
					v.entries[e.Key] = s
				} else {
					v.see(e)
				}
			}
			v.loaded = true
			v.tell()
		},
		Put: func(e Entry) {
			v.mu.Lock()
			defer v.mu.Unlock()
			before := v.entries[e.Key].value
			v.see(e)
			if before != string(e.Value) {
				v.tell()
			}
		},
		Delete: func(key string, _ uint64) {
			v.mu.Lock()
			defer v.mu.Unlock()
			delete(v.entries, key)
			v.tell()
		},
	})
}

func (v *splitView) see(e Entry) {
	v.entries[e.Key] = seen{value: string(e.Value), revision: e.Revision, since: time.Now()}
}

func (v *splitView) tell() {
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

func (v *splitView) owner(part int) seen {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.entries["owner."+v.name+"."+strconv.Itoa(part)]
}

func (v *splitView) member(id string) (seen, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, ok := v.entries["member."+v.name+"."+id]
	return s, ok
}

// share is how many parts the member should run: the same number for all, and one
// more for as many as there are parts left over. Members that see the same come to
// shares that are all parts together: so those who have too many let go of exactly
// what the others lack.
func (v *splitView) share(id string) int {
	members := v.members(id)
	if len(members) == 0 {
		return 0
	}
	at, _ := slices.BinarySearch(members, id)
	// The parts left over of different splits do not all fall to the same ones.
	h := fnv.New32a()
	_, _ = h.Write([]byte(v.name)) // never fails
	n := len(members)
	at = (at + int(h.Sum32()%uint32(n))) % n
	share := v.parts / n
	if at < v.parts%n {
		share++
	}
	return share
}

// members are those who are here, with id among them, sorted; none as long as
// nothing is known.
func (v *splitView) members(id string) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.loaded {
		return nil
	}
	members := []string{id}
	for key, s := range v.entries {
		other, is := strings.CutPrefix(key, "member."+v.name+".")
		if is && other != id && s.value == memberHere && time.Since(s.since) < v.lease {
			members = append(members, other)
		}
	}
	slices.Sort(members)
	return members
}
