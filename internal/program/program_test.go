package program

import (
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/config"
)

func TestGrace(t *testing.T) {
	for all, want := range map[time.Duration]time.Duration{
		0: 20 * time.Second, 25 * time.Second: 20 * time.Second, 5 * time.Minute: 295 * time.Second, 4 * time.Second: 2 * time.Second,
	} {
		if got := Grace(config.OpsEnv{ShutdownGrace: all}); got != want {
			t.Errorf("of %s: %s, want %s", all, got, want)
		}
	}
}
