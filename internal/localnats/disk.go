package localnats

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/moby/sys/mountinfo"
)

// FileSystem says on what a directory lies: "ext4 at /data".
func FileSystem(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "unknown"
	}
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(dir))
	if err != nil || len(mounts) == 0 {
		return "unknown"
	}
	// The last of the longest paths is the one that is seen.
	best := mounts[0]
	for _, m := range mounts[1:] {
		if len(m.Mountpoint) >= len(best.Mountpoint) {
			best = m
		}
	}
	return best.FSType + " at " + best.Mountpoint
}

// Room tells whether a directory's file system has room for more.
type Room struct {
	// Dir is the directory.
	Dir string
	// Reserve is what must stay free, in bytes: handlers and deliveries go on
	// writing when no more webhooks are taken.
	Reserve uint64

	mu      sync.Mutex
	checked time.Time
	err     error
}

// roomFor is how long an answer is taken to hold.
const roomFor = time.Second

// Check tells what is missing; nil if there is room.
func (r *Room) Check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.checked) < roomFor {
		return r.err
	}
	r.checked, r.err = time.Now(), nil
	free, err := freeBytes(r.Dir)
	switch {
	case err != nil:
		r.err = fmt.Errorf("look up the free space of %s: %w", r.Dir, err)
	case free < r.Reserve:
		r.err = fmt.Errorf("%d MiB are free in %s, and %d MiB are kept for what was accepted: make room",
			free>>20, r.Dir, r.Reserve>>20)
	}
	return r.err
}
