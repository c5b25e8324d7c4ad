// Package routine bounds how much a program logs of what goes well: at thousands of
// events a second a line for each is a tenth of the work, and buries those that
// matter.
package routine

import (
	"context"
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// How many lines of one kind are written a second, and how many at once after a quiet
// while.
const (
	perSecond = 100
	burst     = 1000
)

// Lines are the log lines of one kind that tell that all went well. What failed is
// not routine, and has each its line.
type Lines struct {
	log     *slog.Logger
	limiter *rate.Limiter
	omitted atomic.Int64
}

// NewLines returns those that are written to log.
func NewLines(log *slog.Logger) *Lines {
	return &Lines{log: log, limiter: rate.NewLimiter(perSecond, burst)}
}

// Due reports whether the next line is to be written; if not, it is counted. A
// program that logs at level debug writes them all.
func (l *Lines) Due(ctx context.Context) bool {
	if l.limiter.Allow() || l.log.Enabled(ctx, slog.LevelDebug) {
		return true
	}
	l.omitted.Add(1)
	return false
}

// Omitted is for the line that is written: how many were left out since the last one.
// It is empty if none were.
func (l *Lines) Omitted() slog.Attr {
	n := l.omitted.Swap(0)
	if n == 0 {
		return slog.Attr{}
	}
	return slog.Int64("lines_omitted", n)
}
