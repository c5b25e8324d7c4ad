package outbox

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/pkg/stream"
)

// tell notifies with a predicate, as the operator.
func (o *outbox) tell(want int, tenant, id, when, data string) {
	o.t.Helper()
	header := structured.Clone()
	header.Set(tenantHeader, tenant)
	body := `{"specversion":"1.0","id":"` + id + `","source":"/test","type":"t","data":` + data + `}`
	r := o.do(http.MethodPost, notificationsPath+"?"+url.Values{"when": {when}}.Encode(), "key-a", header, body)
	if r.StatusCode != want {
		o.t.Fatalf("notify: %d %s, want %d", r.StatusCode, r.body, want)
	}
}

// A notification is for those subscriptions that its predicate holds for, of one tenant
// or of all, each in its own name.
func TestPredicateAndAllTenants(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.run(nil)
	s := newSubscriber(t, nil)
	subscribe := func(key, path, plan string) {
		o.subscribe(key, map[string]any{"url": s.URL + path, "properties": map[string]any{"plan": plan, "seats": len(plan)}})
	}
	subscribe("key-a", "/a-pro", "pro")
	subscribe("key-a", "/a-free", "free")
	subscribe("key-b", "/b-pro", "pro")
	large := `"` + strings.Repeat("x", maxInline) + `"`
	for i, c := range []struct {
		name, tenant, when, data string
		want                     []string
	}{
		{"one tenant", "default", "", `1`, []string{"/a-free", "/a-pro"}},
		{"all tenants", "*", "", `1`, []string{"/a-free", "/a-pro", "/b-pro"}},
		{"all tenants, a large body", "*", "", large, []string{"/a-free", "/a-pro", "/b-pro"}},
		{"by a property", "*", `subscription.properties.plan == "pro"`, `1`, []string{"/a-pro", "/b-pro"}},
		{"by a property and the body", "*", `subscription.properties.seats > body.n`, `{"n":3}`, []string{"/a-free"}},
		{"by the tenant", "*", `subscription.tenant == "other"`, `1`, []string{"/b-pro"}},
		{"not to be evaluated", "*", `subscription.properties.nope == 1`, `1`, nil},
	} {
		o.tell(http.StatusAccepted, c.tenant, string(rune('a'+i)), c.when, c.data)
		h.fannedOut(i + 1)
		o.settled()
		got := map[string]post{}
		for range len(c.want) {
			p := s.next(t)
			got[p.path] = p
		}
		for _, path := range c.want {
			if p, ok := got[path]; !ok || string(p.body) != c.data {
				t.Errorf("%s: %s got %d bytes", c.name, path, len(p.body))
			}
		}
		s.none(t)
	}
	for _, m := range h.messages(stream.Attempts) {
		a, err := readAttempt(m)
		if err != nil || a.Tenant != "default" && a.Tenant != "other" {
			t.Errorf("recorded for the tenant %q, %v", a.Tenant, err)
		}
	}
	// What was for all is seen, and can be sent again, by its owner.
	v := o.deliveries("notification=b").Deliveries
	if len(v) != 2 {
		t.Fatalf("%d deliveries", len(v))
	}
	o.order(http.StatusAccepted, v[0].ID, "retry")
	s.next(t)
	o.tell(http.StatusUnprocessableEntity, "default", "x", "nope.nope == 1", `1`)
	o.tell(http.StatusUnprocessableEntity, "default", "x", "1 + 1", `1`)
}
