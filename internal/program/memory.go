package program

import (
	"errors"
	"log/slog"
	"math"

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
