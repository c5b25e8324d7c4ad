package outbox

import (
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/stream"
)

func TestWhatCannotBeSettledIsTriedEverMoreSeldom(t *testing.T) {
	for deliveries, want := range map[int]time.Duration{
		0: 2 * time.Second, 1: 2 * time.Second, 2: 4 * time.Second, 8: 256 * time.Second, 9: againAtMost, 1_000_000: againAtMost,
	} {
		if got := againIn(&stream.Held{Deliveries: deliveries}); got != want {
			t.Errorf("after %d times: %v, want %v", deliveries, got, want)
		}
	}
}
