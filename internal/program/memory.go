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
	// lessOften is how much garbage is collected at once, in per cent of what is
	// live. Go's own is 100.
	lessOften = 400
	// systemShare is the share of the machine's memory above which garbage is
	// collected more often, where no limit says how much there is.
	systemShare = 0.25
)

// CollectLess is for a program that turns small heaps into garbage fast, as one
// with an ingress does: at Go's usual pace it collects a few megabytes many times
// a second. It costs some 10 MB and saves a sixth of an ingress's CPU. It is
// called after [LimitMemory]; the environment variables GOGC and GOMEMLIMIT have
// the last word.
func CollectLess() {
	const usual = 100
	if was := debug.SetGCPercent(lessOften); was != usual {
		debug.SetGCPercent(was)
		return
	}
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	machine, err := memlimit.FromSystem()
	if err != nil {
		debug.SetGCPercent(usual) // without a bound it could take too much
		return
	}
	debug.SetMemoryLimit(int64(float64(machine) * systemShare))
}
