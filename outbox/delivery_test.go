package outbox

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/event"
)

func TestDeliveryID(t *testing.T) {
	e := &event.Event{ID: "1", Source: "/s", Tenant: "acme"}
	id := deliveryID(e, testNow, "sub_1")
	if id != deliveryID(&event.Event{ID: "1", Source: "/s", Tenant: "acme", Type: "t"}, testNow, "sub_1") {
		t.Error("it is not the same for the same")
	}
	others := []string{
		deliveryID(e, testNow, "sub_2"),
		deliveryID(&event.Event{ID: "2", Source: "/s", Tenant: "acme"}, testNow, "sub_1"),
		deliveryID(&event.Event{ID: "1", Source: "/t", Tenant: "acme"}, testNow, "sub_1"),
		deliveryID(&event.Event{ID: "1", Source: "/s", Tenant: "other"}, testNow, "sub_1"),
		deliveryID(&event.Event{ID: "/s1", Source: "", Tenant: "acme"}, testNow, "sub_1"),
	}
	if slices.Contains(others, id) {
		t.Errorf("%s is not unique in %v", id, others)
	}
	if !strings.HasPrefix(id, "msg_") || strings.ContainsAny(id, ".*> ") {
		t.Errorf("%s cannot be a token of a subject", id)
	}
}

func TestDeliveryRoundTrip(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "at the border": maxInline, "by reference": maxInline + 1} {
		t.Run(name, func(t *testing.T) {
			e := &event.Event{ID: "1", Source: "/s", Type: "t", Tenant: "acme", ContentType: "text/plain",
				Header: http.Header{"Ce-Subject": {"x"}}, Body: make([]byte, size)}
			d := newDelivery(e, place{seq: 7, stored: testNow}, &Subscription{ID: "sub_1", Tenant: e.Tenant})
			m := d.due(1)
			if byReference := size > maxInline; byReference != (len(m.Data) == 0) || byReference != (d.body == 7) {
				t.Errorf("%d bytes travel, reference %d", len(m.Data), d.body)
			}
			got, err := decodeDelivery(m.Header, m.Data)
			if err != nil {
				t.Fatal(err)
			}
			if got.id != d.id || got.subscription != "sub_1" || got.attempt != 1 || got.body != d.body || got.event.ID != "1" {
				t.Errorf("read %+v", got)
			}
			if len(e.Body) != size {
				t.Error("the notification lost its body")
			}
		})
	}
}

func FuzzDecodeDelivery(f *testing.F) {
	f.Add("msg_1", "sub_1", "1", "", []byte("x"))
	f.Add("", "a.b", "0", "-1", []byte(nil))
	f.Fuzz(func(t *testing.T, id, subscription, attempt, body string, data []byte) {
		header, _ := (&event.Event{ID: "1", Source: "/s", Type: "t"}).Encode()
		header[headerDelivery] = []string{id}
		header[headerSubscription] = []string{subscription}
		header[headerAttempt] = []string{attempt}
		header[headerBody] = []string{body}
		d, err := decodeDelivery(header, data)
		if err != nil {
			return
		}
		if d.attempt < 1 || !rest.ValidName(d.subscription) {
			t.Fatalf("accepted %+v", d)
		}
	})
}

func FuzzTimeOfAnID(f *testing.F) {
	f.Add(deliveryID(&event.Event{ID: "1"}, testNow, "sub_1"))
	f.Add("msg_ffffffffffffffffffffffffffffffffffffffff")
	f.Add("msg_-00000000001" + strings.Repeat("0", 28))
	f.Fuzz(func(t *testing.T, id string) {
		at, err := timeOf(id)
		if err == nil && (len(id) != idLength || strings.ContainsAny(id, ".*> ") || at.UnixMilli() < 0) {
			t.Fatalf("%q is accepted, made %v", id, at)
		}
	})
}

// The id of a delivery is the same in every version: a notification that one version
// has begun to fan out is looked for by the next.
func TestDeliveryIDStays(t *testing.T) {
	t.Parallel()
	e := &event.Event{Tenant: "default", Source: "/shop", ID: "4711"}
	const want = "msg_019a8cdec100e0a6f8c885eefcf1ed050942ee7d"
	if got := deliveryID(e, time.UnixMilli(1763300000000), "sub_1"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
