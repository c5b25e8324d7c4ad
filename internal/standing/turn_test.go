package standing_test

import (
	"strings"
	"testing"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
)

// The keys are known to others, who refuse what they have seen: they must not change.
// Each is the first half of what sha256sum says of the text in the comment.
func TestIdempotencyKeysDoNotChange(t *testing.T) {
	for _, c := range []struct {
		name string
		e    event.Event
		run  int
		want string
	}{
		// 15:/github/default,1:e,1:0,1:c,4:step,
		{"short", event.Event{Source: "/github/default", ID: "e"}, 0, "0967657fac44db66322b7df2a12a1fcf"},
		// 15:/github/default,300:xx…x,1:7,1:c,4:step,
		{"longer than the room for it", event.Event{Source: "/github/default", ID: strings.Repeat("x", 300)}, 7, "9a38e4a412b3967557db6c406419e2d9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := standing.IdempotencyKey(&c.e, c.run, "c", "step"); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
