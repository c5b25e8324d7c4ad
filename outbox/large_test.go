package outbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
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

// What is accepted with as many bytes of attributes as there may be can be delivered:
// a delivery has headers of its own besides, and the broker takes 64 KiB of them.
func TestDeliveryOfLargeAttributes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.run(nil)
	e := newEndpoint(t, http.StatusBadRequest)
	o.subscribe("key-a", map[string]any{"url": e.URL, "schedule": []string{}})
	accepted := 0
	for n, step := 0, 1<<14; step > 0; step /= 2 { // to the most that is accepted
		notification := map[string]any{"specversion": "1.0", "id": fmt.Sprint(n + step), "source": "/test", "type": "t"}
		for i, left := 0, n+step; left > 0; i++ {
			some := min(left, maxAttribute/2)
			notification[fmt.Sprintf("x%02d", i)] = strings.Repeat("é", some)
			left -= some
		}
		body, err := json.Marshal(notification)
		if err != nil {
			t.Fatal(err)
		}
		if r := o.do(http.MethodPost, "/v1/notifications", "key-a", structured, string(body)); r.StatusCode == http.StatusAccepted {
			accepted, n = accepted+1, n+step
		}
	}
	for range accepted {
		e.next(t)
	}
	eventually(t, "all are dead", func() bool { return len(h.messages(stream.Dead)) == accepted })
	o.settled()
}
