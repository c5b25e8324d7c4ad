package outbox

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func inClear(e stream.Entry) (*Subscription, error) { return vault{}.decode(e.Value, e.Revision) }

func cacheEntry(t testing.TB, tenant, id string, disabled *Disabled, filters ...string) stream.Entry {
	t.Helper()
	s := &Subscription{ID: id, Tenant: tenant, URL: "https://example.com/", Filters: filters, Disabled: disabled, Signing: SigningV1, secrets: []secret{{Text: testSecret}}}
	data, err := vault{}.encode(s)
	if err != nil {
		t.Fatal(err)
	}
	return stream.Entry{Key: s.key(), Value: data, Revision: 1}
}

func TestCacheMatches(t *testing.T) {
	c := newCache(inClear, func(key string, err error) { t.Errorf("%s: %v", key, err) })
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
	c := newCache(inClear, func(key string, _ error) { told = append(told, key) })
	w := c.watcher()
	w.Reset([]stream.Entry{{Key: "acme.sub_1", Value: []byte("{")}, cacheEntry(t, "acme", "sub_2", nil, "*")})
	w.Put(stream.Entry{Key: "acme.sub_2", Value: []byte(`{"secrets":["x"]}`)})
	if fmt.Sprint(told) != "[acme.sub_1 acme.sub_2]" || c.size() != 0 {
		t.Errorf("told %v, %d are left", told, c.size())
	}
}

// The tree finds what trying every filter finds.
func TestIndexIsPatterns(t *testing.T) {
	token := rapid.SampledFrom([]string{"a", "b", "*"})
	name := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(token, 1, 4).Draw(t, "tokens"), ".") })
	rapid.Check(t, func(t *rapid.T) {
		var x index
		var subs []*Subscription
		for i, filter := range rapid.SliceOfN(name, 0, 12).Draw(t, "filters") {
			s := &Subscription{ID: fmt.Sprintf("sub_%02d", i), Filters: []string{filter}}
			subs = append(subs, s)
			x.add(filter, s)
		}
		for len(subs) > 0 && rapid.Bool().Draw(t, "remove") {
			at := rapid.IntRange(0, len(subs)-1).Draw(t, "which")
			x.remove(subs[at].Filters[0], subs[at])
			subs = slices.Delete(subs, at, at+1)
		}
		eventType := name.Draw(t, "type")
		got := map[string]bool{}
		x.match(eventType, func(some []*Subscription) {
			for _, s := range some {
				got[s.ID] = true
			}
		})
		want := 0
		for _, s := range subs {
			p, err := event.ParsePattern(s.Filters[0])
			if err != nil {
				t.Fatal(err)
			}
			if p.Match(eventType) {
				want++
				if !got[s.ID] {
					t.Fatalf("%s does not find %s", eventType, s.Filters[0])
				}
			}
		}
		if len(got) != want {
			t.Fatalf("%s finds %d of %d", eventType, len(got), want)
		}
		for _, s := range subs {
			x.remove(s.Filters[0], s)
		}
		if !x.empty() {
			t.Fatal("what is empty stays")
		}
	})
}

// A cache of 100 000 subscriptions, of which 100 want deploy.500.
func largeCache(b *testing.B) (*cache, []stream.Entry) {
	c := newCache(inClear, func(key string, err error) { b.Errorf("%s: %v", key, err) })
	entries := make([]stream.Entry, 100_000)
	for i := range entries {
		filter := fmt.Sprintf("deploy.%d", i/100)
		if i%10 == 0 {
			filter = fmt.Sprintf("*.%d", i/100)
		}
		entries[i] = cacheEntry(b, "acme", fmt.Sprintf("sub_%06d", i), nil, filter)
	}
	c.reset(entries)
	return c, entries
}

func BenchmarkMatch(b *testing.B) {
	c, _ := largeCache(b)
	for b.Loop() {
		if n := len(c.match("acme", "deploy.500")); n != 100 {
			b.Fatal(n)
		}
	}
}

// How long everything takes to be read, at the start and again, and what it costs.
func BenchmarkLoad(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c, entries := largeCache(b)
	stored := c.bytes()
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			newCache(inClear, c.bad).reset(entries)
		}
	})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			c.reset(entries)
		}
	})
	b.Run("change", func(b *testing.B) {
		put := c.watcher().Put
		for b.Loop() {
			put(entries[500])
		}
	})
	clearEntries(entries)
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.Logf("%d subscriptions: %d bytes stored, %d in memory", c.size(), stored, after.HeapAlloc-before.HeapAlloc)
	runtime.KeepAlive(c)
}

func clearEntries(entries []stream.Entry) {
	for i := range entries {
		entries[i] = stream.Entry{}
	}
}
