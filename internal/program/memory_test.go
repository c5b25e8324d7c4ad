package program

import (
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })

	t.Setenv("GOMEMLIMIT", "1GiB") // the runtime has read it, or not: it is not ours to change
	LimitMemory(slog.New(slog.DiscardHandler))
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("with GOMEMLIMIT: %d, want %d as before", got, before)
	}

	if err := os.Unsetenv("GOMEMLIMIT"); err != nil { // Setenv puts back what was there
		t.Fatal(err)
	}
	want := before
	if group, err := memlimit.FromCgroup(); err == nil {
		want = int64(float64(group) * memoryShare)
	}
	LimitMemory(slog.New(slog.DiscardHandler))
	if got := debug.SetMemoryLimit(-1); got != want && got != math.MaxInt64 {
		t.Errorf("limit %d, want %d", got, want)
	}
}

func TestCollectLess(t *testing.T) {
	machine, err := memlimit.FromSystem()
	if err != nil {
		t.Fatal(err)
	}
	limit, percent := debug.SetMemoryLimit(-1), debug.SetGCPercent(100)
	t.Cleanup(func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	})
	for name, c := range map[string]struct {
		percent, want         int
		limitBefore, limitNow int64
	}{
		"nothing is set":     {100, lessOften, math.MaxInt64, int64(float64(machine) * systemShare)},
		"GOGC is set":        {50, 50, math.MaxInt64, math.MaxInt64},
		"a limit is set too": {100, lessOften, 123 << 20, 123 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			debug.SetGCPercent(c.percent)
			debug.SetMemoryLimit(c.limitBefore)
			CollectLess()
			if now := debug.SetMemoryLimit(-1); now != c.limitNow {
				t.Errorf("limit %d, want %d", now, c.limitNow)
			}
			if now := debug.SetGCPercent(100); now != c.want {
				t.Errorf("percent %d, want %d", now, c.want)
			}
		})
	}
}
