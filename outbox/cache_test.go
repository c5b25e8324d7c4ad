package outbox

import (
	"fmt"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/pkg/stream"
)

func cacheEntry(t testing.TB, tenant, id string, disabled *Disabled, filters ...string) stream.Entry {
	t.Helper()
	s := &Subscription{ID: id, Tenant: tenant, URL: "https://example.com/", Filters: filters, Disabled: disabled, Signing: SigningV1}
	data, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	return stream.Entry{Key: s.key(), Value: data, Revision: 1}
}

func TestCacheMatches(t *testing.T) {
	c := newCache(func(key string, err error) { t.Errorf("%s: %v", key, err) })
	if c.isLoaded() {
		t.Error("loaded before the watch")
	}
	w := c.watcher()
	w.Reset([]stream.Entry{
		cacheEntry(t, "acme", "sub_3", nil, "deploy.*", "deploy.done", "*"),
		cacheEntry(t, "acme", "sub_1", nil, "deploy.done"),
		cacheEntry(t, "acme", "sub_2", nil, "*.done"),
		cacheEntry(t, "acme", "sub_off", &Disabled{Reason: ReasonGone}, "*"),
		cacheEntry(t, "other", "sub_1", nil, "*"),
	})
	expect := func(when, tenant, eventType, want string) {
		t.Helper()
		var ids []string
		for _, s := range c.match(tenant, eventType) {
			ids = append(ids, s.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s: %s of %s matches %q, want %q", when, eventType, tenant, got, want)
		}
	}
	expect("all", "acme", "deploy.done", "sub_1 sub_2 sub_3")
	expect("all", "acme", "deploy.started", "sub_3")
	expect("all", "acme", "build.done", "sub_2 sub_3")
	expect("all", "acme", "push", "sub_3")
	expect("all", "other", "deploy.done", "sub_1")
	expect("all", "nobody", "deploy.done", "")
	w.Delete("acme.sub_1", 2)
	w.Delete("acme.sub_unknown", 3)
	w.Put(cacheEntry(t, "acme", "sub_3", nil, "push"))
	expect("after changes", "acme", "deploy.done", "sub_2")
	expect("after changes", "acme", "push", "sub_3")
	expect("after changes", "other", "deploy.done", "sub_1")
	w.Put(cacheEntry(t, "acme", "sub_3", &Disabled{}, "push"))
	expect("disabled", "acme", "push", "")
	w.Reset(nil)
	expect("emptied", "acme", "deploy.done", "")
	if c.size() != 0 || !c.isLoaded() {
		t.Errorf("%d are left", c.size())
	}
}

func TestCacheTellsOfWhatItCannotRead(t *testing.T) {
	var told []string
	c := newCache(func(key string, _ error) { told = append(told, key) })
	w := c.watcher()
	w.Reset([]stream.Entry{{Key: "acme.sub_1", Value: []byte("{")}, cacheEntry(t, "acme", "sub_2", nil, "*")})
	w.Put(stream.Entry{Key: "acme.sub_2", Value: []byte(`{"secrets":["x"]}`)})
	if fmt.Sprint(told) != "[acme.sub_1 acme.sub_2]" || c.size() != 0 {
		t.Errorf("told %v, %d are left", told, c.size())
	}
}

// 100 000 subscriptions, of which 100 want the notification.
func BenchmarkMatch(b *testing.B) {
	c := newCache(func(key string, err error) { b.Errorf("%s: %v", key, err) })
	entries := make([]stream.Entry, 100_000)
	for i := range entries {
		filter := fmt.Sprintf("deploy.%d", i/100)
		if i%10 == 0 {
			filter = fmt.Sprintf("deploy.%d.*", i/100)
		}
		entries[i] = cacheEntry(b, "acme", fmt.Sprintf("sub_%06d", i), nil, filter)
	}
	c.watcher().Reset(entries)
	for b.Loop() {
		if n := len(c.match("acme", "deploy.500")); n != 90 {
			b.Fatal(n)
		}
	}
}
