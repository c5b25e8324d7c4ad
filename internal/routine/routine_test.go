package routine_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-hooks/belay/internal/routine"
)

// written says n times that all went well, if that is due, and returns how many lines
// were left out according to each line.
func written(t *testing.T, log *slog.Logger, lines *routine.Lines, out *bytes.Buffer, n int) (omitted []int) {
	for range n {
		if lines.Due(t.Context()) {
			log.LogAttrs(t.Context(), slog.LevelInfo, "all is well", lines.Omitted())
		}
	}
	for decoder := json.NewDecoder(out); decoder.More(); {
		var line struct {
			Omitted int `json:"lines_omitted"`
		}
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		omitted = append(omitted, line.Omitted)
	}
	return omitted
}

func TestLinesOfRoutineAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&out, nil))
		lines := routine.NewLines(log)
		if got := len(written(t, log, lines, &out, 5000)); got != 1000 {
			t.Errorf("of 5000 at once %d were written, want 1000", got)
		}
		<-time.After(time.Second)
		got := written(t, log, lines, &out, 500)
		if len(got) != 100 {
			t.Fatalf("a second later %d of 500 were written, want 100", len(got))
		}
		if got[0] != 4000 || got[1] != 0 {
			t.Errorf("the first two lines tell of %d and %d left out before them, want 4000 and 0", got[0], got[1])
		}
	})
}

func TestAtLevelDebugEachLineIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		lines := routine.NewLines(log)
		if got := len(written(t, log, lines, &out, 5000)); got != 5000 {
			t.Errorf("%d of 5000 were written", got)
		}
	})
}
