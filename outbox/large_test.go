package outbox

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// A notification that is larger than a message of the broker is given up once, and can
// be sent again: its body stays where it is.
func TestDeadLetterOfLargeBody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.run(nil)
	e := newEndpoint(t, http.StatusBadRequest)
	o.subscribe("key-a", map[string]any{"url": e.URL, "schedule": []string{}})
	body := bytes.Repeat([]byte("x"), 2<<20)
	if _, err := h.broker.StoreEvent(t.Context(), &event.Event{
		ID: "large", Source: "/chains/c", Type: "t", Time: time.Now(), Tenant: "default", ContentType: "text/plain", Body: body,
	}); err != nil {
		t.Fatal(err)
	}
	if got := e.next(t); !bytes.Equal(got.body, body) {
		t.Errorf("%d bytes were sent", len(got.body))
	}
	eventually(t, "it is dead", func() bool { return len(h.messages(stream.Dead)) == 1 })
	o.settled()
	e.none(t)

	e.status.Store(http.StatusOK)
	if j := o.ended(o.begin(map[string]any{"kind": "redeliver"}).ID); j.Handled != 1 || j.Error != "" {
		t.Errorf("ended %+v", j)
	}
	if got := e.next(t); !bytes.Equal(got.body, body) {
		t.Errorf("%d bytes were sent again", len(got.body))
	}
	o.settled()
}
