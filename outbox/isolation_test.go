package outbox

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// The owner of a subscription is told that it is disabled, by a notification.
func TestOwnerIsTold(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	s := newSubscriber(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			w.WriteHeader(http.StatusGone)
		}
	})
	gone, _ := o.subscribe("key-a", map[string]any{"url": s.URL + "/gone?token=hidden", "filters": []string{"t"}})
	o.subscribe("key-a", map[string]any{"url": s.URL + "/owner", "filters": []string{"belay.*"}})
	o.subscribe("key-b", map[string]any{"url": s.URL + "/foreign", "filters": []string{"belay.*"}})
	o.notify("key-a", "n1", "t", `1`)
	if p := s.next(t); p.path != "/gone" {
		t.Fatalf("posted to %s", p.path)
	}
	p := s.next(t)
	if body := string(p.body); p.path != "/owner" || !strings.Contains(body, gone.ID) || !strings.Contains(body, `"reason":"gone"`) || strings.Contains(body, "hidden") {
		t.Errorf("posted to %s: %s", p.path, p.body)
	}
	o.attempts(2)
	o.settled()
	s.none(t)
}

// So many attempts a second, over all of them, and each is parked at most once.
func TestRateLimitOfASubscription(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	var mu sync.Mutex
	var came []time.Time
	s := newSubscriber(t, func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		came = append(came, time.Now())
	})
	o.subscribe("key-a", map[string]any{"url": s.URL, "rate_limit": 10})
	const n = 30
	for i := range n {
		o.notify("key-a", strconv.Itoa(i), "t", `1`)
	}
	o.attempts(n)
	o.settled()
	if took := came[n-1].Sub(came[0]); took < (n-1)*90*time.Millisecond || took > (n+40)*100*time.Millisecond {
		t.Errorf("%d attempts in %v at 10 a second", n, took)
	}
	parked := 0
	for _, m := range o.messages(stream.Done) {
		parked += strings.Count(string(m.Data), outcomeParked)
	}
	if parked == 0 || parked > n {
		t.Errorf("%d of %d were parked", parked, n)
	}
}

// Above the cap nothing is accepted nor fanned out, and below it all goes on.
func TestBacklogRefuses(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(func(c *Config) { c.MaxParked = 2000 })
	s := newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	sub, _ := o.subscribe("key-a", map[string]any{"url": s.URL, "schedule": []string{"1h"}})
	o.notify("key-a", "n1", "t", `"`+strings.Repeat("x", 4000)+`"`)
	s.next(t)
	notification := `{"specversion":"1.0","id":"n2","source":"/test","type":"t"}`
	var r reply
	eventually(t, "notifications are refused", func() bool {
		r = o.do(http.MethodPost, "/v1/notifications", "key-a", structured, notification)
		return r.StatusCode == http.StatusServiceUnavailable
	})
	if r.problem(t); r.Header.Get("Retry-After") == "" {
		t.Errorf("refused with %v", r.Header)
	}
	// What somebody else stores waits.
	before := len(o.fanoutRecords())
	e := &event.Event{ID: "n3", Source: "/test", Type: "t", Time: time.Now(), Tenant: "default", Body: []byte("3"), ContentType: "application/json"}
	if _, err := o.broker.StoreEvent(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if err := o.broker.Purge(t.Context(), stream.Out(shardOf(sub.ID, o.broker.Shards())), "belay.out.*.wait.>"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "notifications are accepted", func() bool {
		return o.do(http.MethodPost, "/v1/notifications", "key-a", structured, notification).StatusCode == http.StatusAccepted
	})
	eventually(t, "what waited is fanned out", func() bool { return len(o.fanoutRecords()) > before })
}

// crowd is many subscriptions at a steady rate, some of whose endpoints are bad.
type crowd struct {
	subscriptions int
	rate          int           // notifications a second, in turn for each subscription
	lasts         time.Duration // how long it is measured
	bad           bool          // a tenth hangs, and a tenth fails
	timeout       time.Duration // of those that hang
}

// waits are how long the healthy ones waited, from when a notification was stored to
// when it arrived, in order of size.
func (c crowd) waits(t testing.TB, o *outbox) []time.Duration {
	var mu sync.Mutex
	var waits []time.Duration
	kind := func(path string) int { n, _ := strconv.Atoi(strings.TrimPrefix(path, "/")); return n % 10 }
	s := newSubscriber(t, func(w http.ResponseWriter, r *http.Request) {
		switch k := kind(r.URL.Path); {
		case c.bad && k == 0:
			<-r.Context().Done()
		case c.bad && k == 1:
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	arrivals := make(chan struct{})
	for i := range c.subscriptions {
		sub, err := newSubscription([]byte(fmt.Sprintf(`{"url":%q,"filters":["t.%d"],"timeout":%q}`, fmt.Sprint(s.URL, "/", i), i, c.timeout)),
			caller{tenant: "default"}, Config{Dev: true}.addressPolicy(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := o.server.subscriptions.create(t.Context(), sub); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		defer close(arrivals)
		for {
			select {
			case p := <-s.posts:
				if k := kind(p.path); k > 1 {
					at, err := time.Parse(time.RFC3339Nano, strings.Trim(string(p.body), `"`))
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					waits = append(waits, time.Since(at))
					mu.Unlock()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	var storing sync.WaitGroup
	ticker := time.NewTicker(time.Second / time.Duration(c.rate))
	defer ticker.Stop()
	n := int(c.lasts.Seconds() * float64(c.rate))
	healthy := 0
	for i := range n {
		<-ticker.C
		if k := i % c.subscriptions % 10; k > 1 {
			healthy++
		}
		storing.Go(func() {
			now := time.Now()
			e := &event.Event{
				ID: strconv.Itoa(i), Source: "/crowd", Type: fmt.Sprint("t.", i%c.subscriptions), Time: now,
				Tenant: "default", Body: []byte(`"` + now.Format(time.RFC3339Nano) + `"`), ContentType: "application/json",
			}
			if _, err := o.broker.StoreEvent(t.Context(), e); err != nil {
				t.Error(err)
			}
		})
	}
	storing.Wait()
	eventually(t, "the healthy ones have all", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(waits) >= healthy
	})
	stop()
	<-arrivals
	slices.Sort(waits)
	return waits
}

// Endpoints that hang or fail hold up nobody else: the others do not wait for a
// time-out.
func TestBadEndpointsHoldUpNobody(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(func(c *Config) { c.Attempts = 64 })
	c := crowd{subscriptions: 200, rate: 200, lasts: 6 * time.Second, bad: true, timeout: 30 * time.Second}
	waits := c.waits(t, o)
	if p99 := waits[len(waits)*99/100]; p99 > c.timeout/6 {
		t.Errorf("the healthy ones waited p99 %v", p99)
	}
}

// 1000 subscriptions at a steady rate, without and with bad ones among them.
func BenchmarkIsolation(b *testing.B) {
	for range b.N {
		c := crowd{subscriptions: 1000, rate: 300, lasts: 20 * time.Second, timeout: 5 * time.Second}
		good := c.waits(b, newHouse(b).run(nil))
		c.bad = true
		mixed := c.waits(b, newHouse(b).run(nil))
		p := func(waits []time.Duration, share int) time.Duration { return waits[len(waits)*share/100] }
		b.Logf("healthy: p50 %v p99 %v without, p50 %v p99 %v with bad ones", p(good, 50), p(good, 99), p(mixed, 50), p(mixed, 99))
		b.ReportMetric(float64(p(mixed, 99))/float64(p(good, 99)), "x-p99")
		b.ReportMetric(float64(p(mixed, 50))/float64(p(good, 50)), "x-p50")
	}
}
