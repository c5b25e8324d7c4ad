package outbox

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
)

// BenchmarkHistory reads what is kept of 100 000 attempts, of 100 subscriptions, one in
// ten thousand of which has failed.
func BenchmarkHistory(b *testing.B) {
	h := newHouse(b)
	o := h.run(nil)
	const attempts, subscriptions = 100_000, 100
	began := time.Now()
	id := func(i int) string {
		return deliveryID(&event.Event{ID: fmt.Sprint(i), Source: "/s", Tenant: "default"}, began.Add(time.Duration(i)*time.Microsecond), "s")
	}
	var wg sync.WaitGroup
	for part := range 64 {
		wg.Go(func() {
			for i := part; i < attempts; i += 64 {
				a := &attempt{
					Delivery: id(i), Subscription: fmt.Sprint("sub_", i%subscriptions), Tenant: "default", Notification: fmt.Sprint(i), Source: "/s",
					Type: "deploy.done", Attempt: 1, At: began, Verdict: delivered, Reason: ReasonAccepted, Status: 200,
					exchange: exchange{Response: &response{Status: 200, Body: "thanks"}},
				}
				if i%10_000 == 5000 {
					a.Verdict, a.Reason, a.Status = gone, ReasonGone, 410
				}
				m, err := a.message()
				if err == nil {
					_, err = h.broker.Publish(b.Context(), m)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, c := range []struct{ name, path string }{
		{"newest", "?limit=50"},
		{"of a subscription", "?limit=50&subscription=sub_7"},
		{"rare, by the state", "?limit=50&state=gone"},
		{"rare, by the event", "?limit=50&notification=700"},
		{"one, early", "/" + id(10)},
		{"one, early, with its subscription", "/" + id(10) + "?subscription=sub_10"},
		{"one, late", "/" + id(attempts-10)},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if r := o.do(http.MethodGet, "/v1/deliveries"+c.path, "key-a", nil, ""); r.StatusCode != http.StatusOK {
					b.Fatalf("%d %s", r.StatusCode, r.body)
				}
			}
		})
	}
}
