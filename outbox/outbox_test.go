package outbox

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/pkg/webhook"
)

func TestDelivers(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	s := newSubscriber(t, nil)
	sub, secret := o.subscribe("key-a", map[string]any{"url": s.URL + "/a?token=hidden", "filters": []string{"deploy.*", "*"}})
	o.subscribe("key-a", map[string]any{"url": s.URL + "/push", "filters": []string{"push"}})
	o.subscribe("key-b", map[string]any{"url": s.URL + "/foreign"})

	o.notify("key-a", "n1", "deploy.done", `{"ok":true}`)
	p := s.next(t)
	key, err := webhook.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := webhook.Verify(p.header, p.body, time.Now(), webhook.Tolerance, key); err != nil {
		t.Error(err)
	}
	if string(p.body) != `{"ok":true}` || p.path != "/a" || p.header.Get("Content-Type") != "application/json" || p.header.Get("User-Agent") != "Belay" {
		t.Errorf("posted %s %v %s", p.path, p.header, p.body)
	}
	a := o.attempts(1)[0]
	if a.Delivery != p.header.Get(webhook.HeaderID) || a.Subscription != sub.ID || a.Attempt != 1 || a.Verdict != delivered ||
		a.Reason != ReasonAccepted || a.Response.Status != 200 || a.Notification != "n1" || a.Tenant != "default" {
		t.Errorf("recorded %+v", a)
	}
	o.settled()
	s.none(t)

	binary := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"n2"}, "Ce-Source": {"/test"}, "Ce-Type": {"push"}, "Content-Type": {"text/plain"}}
	r := o.do(http.MethodPost, "/v1/notifications", "key-a", binary, "plain\n")
	if r.StatusCode != http.StatusAccepted {
		t.Fatalf("binary mode: %d %s", r.StatusCode, r.body)
	}
	paths := map[string]bool{}
	for range 2 {
		p := s.next(t)
		paths[p.path] = true
		if string(p.body) != "plain\n" || p.header.Get("Content-Type") != "text/plain" {
			t.Errorf("posted %v %q", p.header, p.body)
		}
	}
	if !paths["/a"] || !paths["/push"] {
		t.Errorf("posted to %v", paths)
	}
	o.attempts(3)
	o.settled()
	s.none(t)
	if log := o.log.String(); strings.Contains(log, "hidden") || strings.Contains(log, "whsec_") {
		t.Error("the log shows a secret")
	}
}

func TestDuplicateNotification(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	s := newSubscriber(t, nil)
	o.subscribe("key-a", map[string]any{"url": s.URL})
	o.subscribe("key-b", map[string]any{"url": s.URL})
	send := func(key, source string) accepted {
		r := o.do(http.MethodPost, "/v1/notifications", key, structured, `{"specversion":"1.0","id":"n","source":"`+source+`","type":"t"}`)
		if r.StatusCode != http.StatusAccepted {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		var a accepted
		r.into(t, &a)
		return a
	}
	for i, c := range []struct {
		key, source string
		duplicate   bool
	}{{"key-a", "/1", false}, {"key-a", "/1", true}, {"key-a", "/2", false}, {"key-b", "/1", false}} {
		if got := send(c.key, c.source); got.Duplicate != c.duplicate || got.ID != "n" {
			t.Errorf("%d: %+v", i, got)
		}
	}
	ids := map[string]bool{}
	for range 3 {
		ids[s.next(t).header.Get(webhook.HeaderID)] = true
	}
	if len(ids) != 3 {
		t.Errorf("ids %v", ids)
	}
	o.attempts(3)
	o.settled()
	s.none(t)
}

// An attempt that the stop cuts short is nobody's failure: it is made again.
func TestShutdownGivesBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.run(func(c *Config) { c.Grace = 10 * time.Millisecond })
	hang := make(chan struct{})
	var calls atomic.Int32
	s := newSubscriber(t, func(_ http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}
	})
	defer close(hang)
	first.subscribe("key-a", map[string]any{"url": s.URL})
	first.notify("key-a", "n1", "t", `1`)
	s.next(t)
	first.stop()
	if n := len(h.messages(stream.Attempts)); n != 0 {
		t.Errorf("%d attempts are recorded", n)
	}
	h.run(nil)
	s.next(t)
	if a := h.attempts(1)[0]; a.Attempt != 1 || a.Verdict != delivered {
		t.Errorf("recorded %+v", a)
	}
	h.settled()
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(func(c *Config) { c.Schedule = []time.Duration{0} })
	var calls atomic.Int32
	s := newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	o.subscribe("key-a", map[string]any{"url": s.URL})
	o.notify("key-a", "n1", "t", `1`)
	o.attempts(2)
	o.settled()
	families, err := o.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"belay_outbox_notifications_total false":         1,
		"belay_outbox_deliveries_total":                  1,
		"belay_outbox_subscriptions":                     1,
		"belay_outbox_attempts_total unavailable retry":  1,
		"belay_outbox_attempts_total accepted delivered": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v in %v", name, got[name], want, got)
		}
	}
}

// A delivery from the accepted notification to the settled attempt.
func BenchmarkDeliver(b *testing.B) {
	h := newHouse(b)
	o := h.run(nil)
	s := newSubscriber(b, nil)
	o.subscribe("key-a", map[string]any{"url": s.URL})
	b.ResetTimer()
	go func() {
		for i := range b.N {
			e := &event.Event{ID: strconv.Itoa(i), Source: "/bench", Type: "t", Time: time.Now(), Tenant: "default", Body: []byte(`{"a":1}`)}
			if _, err := h.broker.StoreEvent(b.Context(), e); err != nil {
				b.Error(err)
			}
		}
	}()
	for range b.N {
		s.next(b)
	}
	h.settled()
}

// Damaged messages are put away whole and stand in nobody's way.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, subject := range []string{stream.NotifySubject("default"), stream.OutDue(0, "sub_x", "msg_x")} {
		if _, err := h.broker.Publish(t.Context(), stream.Message{Subject: subject, Header: map[string][]string{"x": {"y"}}, Data: []byte("?")}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.broker.Bucket(stream.Subscriptions).Put(t.Context(), "default.sub_bad", []byte("{")); err != nil {
		t.Fatal(err)
	}
	o := h.run(nil)
	eventually(t, "both are dead letters", func() bool { return len(h.messages(stream.Dead)) == 2 })
	for _, letter := range h.messages(stream.Dead) {
		if string(letter.Data) != "?" || event.HeaderValue(letter.Header, "x") != "y" || event.HeaderValue(letter.Header, headerReason) != string(ReasonUnreadable) {
			t.Errorf("dead letter %+v", letter)
		}
	}
	o.settled()
	s := newSubscriber(t, nil)
	o.subscribe("key-a", map[string]any{"url": s.URL})
	o.notify("key-a", "n1", "t", `1`)
	s.next(t)
}

// Two outboxes share the work, and one of them stops in the middle of it: nothing
// is lost, nothing is sent twice.
func TestTwoShareTheWork(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b := h.run(nil), h.run(nil)
	s := newSubscriber(t, nil)
	const subscribers, notifications = 3, 40
	for range subscribers {
		sub, _ := a.subscribe("key-a", map[string]any{"url": s.URL})
		// The other one has to know it too before a notification is accepted.
		if err := b.server.subscriptions.cache.wait(t.Context(), func(c *contents) bool { return c.byKey[sub.key()] != nil }); err != nil {
			t.Fatal(err)
		}
	}
	for i := range notifications {
		a.notify("key-a", strconv.Itoa(i), "t", `1`)
		if i == notifications/2 {
			go a.stop()
			a = b
		}
	}
	ids := map[string]int{}
	for range subscribers * notifications {
		ids[s.next(t).header.Get(webhook.HeaderID)]++
	}
	h.attempts(subscribers * notifications)
	h.settled()
	s.none(t)
	if len(ids) != subscribers*notifications {
		t.Errorf("%d different deliveries, want %d", len(ids), subscribers*notifications)
	}
}

// While the broker is away nothing is accepted, and an outbox can still stop.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.run(nil)
	eventually(t, "the outbox is ready", func() bool { return o.server.Ready(t.Context()) == nil })
	h.server.Stop()
	for _, c := range []struct {
		path   string
		header http.Header
		body   string
	}{
		{"/v1/notifications", structured, `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`},
		{"/v1/subscriptions", jsonBody, `{"url":"https://example.com/"}`},
	} {
		r := o.do(http.MethodPost, c.path, "key-a", c.header, c.body)
		if p := r.problem(t); p.Status != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %+v", c.path, p)
		}
	}
	if r := o.do(http.MethodGet, "/v1/subscriptions", "key-a", nil, ""); r.StatusCode != http.StatusOK {
		t.Errorf("what is in memory: %d %s", r.StatusCode, r.body)
	}
	o.stop()
}

// A broker may be there without its streams, and may go away while an outbox is set up.
func TestSettingUpWaitsForTheBroker(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.run(nil)
	o.stop()
	if err := h.server.GlobalAccount().DisableJetStream(); err != nil {
		t.Fatal(err)
	}
	requests := func() int64 {
		v, err := h.server.Varz(nil)
		if err != nil {
			t.Fatal(err)
		}
		return v.InMsgs
	}
	before := requests()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		_, _, err := o.server.setUp(ctx)
		ended <- err
	}()
	eventually(t, "it asks again and again", func() bool { return requests() >= before+3 })
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestStopWithoutStart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.run(nil)
	o.stop()
	o.server.Close()
	if _, err := New(Config{Addr: "no address"}, h.broker, o.server.log, prometheus.NewRegistry()); err == nil {
		t.Error("bound to nonsense")
	}
	if _, err := New(Config{Schedule: []time.Duration{-1}}, h.broker, o.server.log, prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), "schedule[0]") {
		t.Errorf("got %v", err)
	}
}
