package program

import (
	"errors"
	"log/slog"
	"math"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// memoryShare is the share of the container's memory that the Go runtime may
// use. The rest is for what it does not count: the kernel's side of files and
// connections.
const memoryShare = 0.9

// LimitMemory makes the Go runtime keep within the memory of its control group,
// so that a program that is short of memory collects garbage and is not killed.
// The environment variable GOMEMLIMIT has the last word; without a group, or
// without a limit of it, there is none.
func LimitMemory(log *slog.Logger) {
	limit, err := memlimit.Set(memlimit.WithRatio(memoryShare))
	switch {
	case errors.Is(err, memlimit.ErrNoCgroup), errors.Is(err, memlimit.ErrCgroupsNotSupported):
	case err != nil:
		log.Warn("no memory limit set: set GOMEMLIMIT to nine tenths of what there is", "error", err)
	case limit != math.MaxInt64:
		log.Info("memory limit set", "bytes", limit)
	}
}

const (
	// smallHeapPercent is how much garbage, in per cent of what is live, a program
	// with a small heap collects at once.
	smallHeapPercent = 400
	// smallHeapLimit is the memory in bytes above which it collects more often,
	// where nothing else says how much there is.
	smallHeapLimit = 1 << 30
)

// CollectLess is for a program whose heap is small and full of what is soon
// garbage, as ingress's is: with Go's usual pace it collects a few megabytes many
// times a second. It costs some 10 MB and saves a sixth of the CPU. The
// environment variables GOGC and GOMEMLIMIT have the last word.
func CollectLess() {
	const usual = 100
	if was := debug.SetGCPercent(smallHeapPercent); was != usual {
		debug.SetGCPercent(was)
		return
	}
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(smallHeapLimit)
	}
}
