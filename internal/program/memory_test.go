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
