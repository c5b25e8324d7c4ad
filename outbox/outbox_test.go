package outbox

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
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

func TestRetriesEndInADeadLetter(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.run(func(c *Config) { c.Schedule = []time.Duration{0, 10 * time.Millisecond} })
	s := newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "broken", http.StatusInternalServerError)
	})
	sub, secret := o.subscribe("key-a", map[string]any{"url": s.URL})
	o.notify("key-a", "n1", "t", `{"a":1}`)
	key, err := webhook.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for range 3 {
		p := s.next(t)
		ids[p.header.Get(webhook.HeaderID)] = true
		if err := webhook.Verify(p.header, p.body, time.Now(), webhook.Tolerance, key); err != nil {
			t.Error(err)
		}
	}
	if len(ids) != 1 {
		t.Errorf("attempts have the ids %v, want one", ids)
	}
	for i, a := range o.attempts(3) {
		want := retry
		if i == 2 {
			want = dead
		}
		if a.Attempt != i+1 || a.Verdict != want || a.Reason != ReasonServerError || a.Response.Body != "broken\n" || (a.Next != nil) != (want == retry) {
			t.Errorf("recorded %+v", a)
		}
	}
	o.settled()
	letters := h.messages(stream.Dead)
	if len(letters) != 1 || !strings.HasPrefix(letters[0].Subject, stream.DeadDelivery("default", sub.ID, "msg_")) {
		t.Fatalf("dead letters %+v", letters)
	}
	letter := letters[0]
	e, err := event.Decode(letter.Header, letter.Data)
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != "n1" || string(e.Body) != `{"a":1}` || headerValue(letter.Header, headerReason) != string(ReasonServerError) || headerValue(letter.Header, headerAttempt) != "3" {
		t.Errorf("dead letter %+v of %+v", letter, e)
	}
	s.none(t)
}

func TestRetrySurvivesARestart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	schedule := func(c *Config) { c.Schedule = []time.Duration{4 * time.Second} }
	first := h.run(schedule)
	var calls atomic.Int32
	s := newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	first.subscribe("key-a", map[string]any{"url": s.URL})
	first.notify("key-a", "n1", "t", `1`)
	id := s.next(t).header.Get(webhook.HeaderID)
	first.stop()
	h.attempts(1)
	h.run(schedule)
	if got := s.next(t).header.Get(webhook.HeaderID); got != id {
		t.Errorf("the second attempt has the id %s, the first had %s", got, id)
	}
	if a := h.attempts(2)[1]; a.Attempt != 2 || a.Verdict != delivered {
		t.Errorf("recorded %+v", a)
	}
	h.settled()
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

func TestGoneDisables(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	s := newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	sub, _ := o.subscribe("key-a", map[string]any{"url": s.URL})
	o.notify("key-a", "n1", "t", `1`)
	s.next(t)
	if a := o.attempts(1)[0]; a.Verdict != gone || a.Reason != ReasonGone {
		t.Errorf("recorded %+v", a)
	}
	var got Subscription
	eventually(t, "the subscription is disabled", func() bool {
		o.do(http.MethodGet, "/v1/subscriptions/"+sub.ID, "key-a", nil, "").into(t, &got)
		return got.Disabled != nil
	})
	if got.Disabled.Reason != ReasonGone || got.Disabled.Since.IsZero() {
		t.Errorf("disabled %+v", got.Disabled)
	}
	o.notify("key-a", "n2", "t", `1`)
	o.fannedOut(2)
	o.settled()
	o.attempts(1)
	s.none(t)
	if n := len(o.messages(stream.Dead)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// What was parked for a subscription that is disabled meanwhile is kept.
func TestDisabledWhileParked(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(func(c *Config) { c.Schedule = []time.Duration{500 * time.Millisecond} })
	s := newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	sub, _ := o.subscribe("key-a", map[string]any{"url": s.URL})
	o.notify("key-a", "n1", "t", `1`)
	s.next(t)
	if _, err := o.server.subscriptions.disable(t.Context(), "default", sub.ID, ReasonGone, time.Now()); err != nil {
		t.Fatal(err)
	}
	if a := o.attempts(2)[1]; a.Verdict != dead || a.Reason != ReasonDisabled || a.Response != nil {
		t.Errorf("recorded %+v", a)
	}
	o.settled()
	if letters := o.messages(stream.Dead); len(letters) != 1 || headerValue(letters[0].Header, headerReason) != string(ReasonDisabled) {
		t.Errorf("dead letters %+v", letters)
	}
	s.none(t)
}

func TestDeletedWhileParked(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(func(c *Config) { c.Schedule = []time.Duration{500 * time.Millisecond} })
	s := newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	sub, _ := o.subscribe("key-a", map[string]any{"url": s.URL})
	o.notify("key-a", "n1", "t", `1`)
	s.next(t)
	if r := o.do(http.MethodDelete, "/v1/subscriptions/"+sub.ID, "key-a", nil, ""); r.StatusCode != http.StatusNoContent {
		t.Fatalf("delete: %d %s", r.StatusCode, r.body)
	}
	o.attempts(1)
	o.settled()
	s.none(t)
	if !strings.Contains(o.log.String(), string(ReasonDeleted)) {
		t.Error("the log does not tell")
	}
	if n := len(o.messages(stream.Dead)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	elsewhere := newSubscriber(t, nil)
	big := strings.Repeat("x", 2*maxResponse) + "\xff"
	closed := httptest.NewServer(nil)
	closed.Close()
	cases := []struct {
		name    string
		answer  http.HandlerFunc
		url     string
		verdict decision
		reason  Reason
		check   func(t *testing.T, a attempt)
	}{
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "", dead, ReasonRedirect,
			func(t *testing.T, a attempt) { elsewhere.none(t) }},
		{"redirect after POST", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "", dead, ReasonRedirect,
			func(t *testing.T, a attempt) { elsewhere.none(t) }},
		{"large body", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(big)) }, "", delivered, ReasonAccepted,
			func(t *testing.T, a attempt) {
				if len(a.Response.Body) != maxResponse || !a.Response.Truncated {
					t.Errorf("%d bytes are kept", len(a.Response.Body))
				}
			}},
		{"large head", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 2*maxResponseHeader))
		}, "", dead, ReasonConnection, nil},
		{"binary body", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte{0xff, 'a'}) }, "", delivered, ReasonAccepted,
			func(t *testing.T, a attempt) {
				if a.Response.Body != "\uFFFDa" {
					t.Errorf("kept %q", a.Response.Body)
				}
			}},
		{"body that breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("x"))
		}, "", delivered, ReasonAccepted, nil},
		{"reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", dead, ReasonConnection, nil},
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "", dead, ReasonTimeout, nil},
		{"nobody listens", nil, closed.URL, dead, ReasonConnection, nil},
		{"no such name", nil, "http://nothing.invalid/", dead, ReasonDNS, nil},
		{"private address", nil, "http://10.255.255.1/", dead, ReasonAddress, nil},
		{"IPv4-mapped", nil, "http://[::ffff:10.0.0.1]/", dead, ReasonAddress, nil},
	}
	// A time-out for the case that hangs; no retries, so that each is one attempt.
	o := newHouse(t).run(func(c *Config) { c.Schedule, c.Timeout = []time.Duration{}, time.Second })
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			url := c.url
			if url == "" {
				url = newSubscriber(t, c.answer).URL
			}
			// Past the API, which would refuse some of the addresses at once.
			eventType := "case." + strconv.Itoa(i)
			sub, err := newSubscription([]byte(`{"url":"http://127.0.0.1/","filters":["`+eventType+`"]}`), caller{tenant: defaultTenant}, Config{Dev: true}.addressPolicy(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			sub.URL = url
			if err := o.server.subscriptions.create(t.Context(), sub); err != nil {
				t.Fatal(err)
			}
			o.notify("key-a", eventType, eventType, `1`)
			a := o.attemptOf(sub.ID)
			if a.Verdict != c.verdict || a.Reason != c.reason {
				t.Errorf("recorded %+v", a)
			}
			if a.Response == nil && a.Detail == "" {
				t.Error("no detail is recorded")
			}
			if c.check != nil {
				c.check(t, a)
			}
			o.settled()
		})
	}
}

// A name that resolves to a forbidden address is refused when the connection is
// made, whatever it was when the subscription was.
func TestNameOfAForbiddenAddress(t *testing.T) {
	t.Parallel()
	s := newSubscriber(t, nil)
	o := newHouse(t).run(func(c *Config) { c.Dev, c.AllowHTTP, c.Schedule = false, true, []time.Duration{} })
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	o.subscribe("key-a", map[string]any{"url": "http://localhost:" + port})
	o.notify("key-a", "n1", "t", `1`)
	if a := o.attempts(1)[0]; a.Reason != ReasonAddress || a.Verdict != dead {
		t.Errorf("recorded %+v", a)
	}
	s.none(t)
}

func TestUntrustedCertificate(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("was called") }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the client, rightly
	s.StartTLS()
	t.Cleanup(s.Close)
	o := newHouse(t).run(func(c *Config) { c.Schedule = []time.Duration{} })
	o.subscribe("key-a", map[string]any{"url": s.URL})
	o.notify("key-a", "n1", "t", `1`)
	if a := o.attempts(1)[0]; a.Reason != ReasonTLS || a.Verdict != dead {
		t.Errorf("recorded %+v", a)
	}
}

func TestLargeBodyTravelsByReference(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(func(c *Config) { c.Schedule = []time.Duration{0, 500 * time.Millisecond} })
	var calls atomic.Int32
	s := newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) <= 2 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	o.subscribe("key-a", map[string]any{"url": s.URL})
	body := `"` + strings.Repeat("x", 200<<10) + `"`
	o.notify("key-a", "n1", "t", body)
	for range 2 {
		if p := s.next(t); string(p.body) != body {
			t.Errorf("%d bytes were posted, want %d", len(p.body), len(body))
		}
	}
	// The notification is gone before the last attempt.
	if err := o.broker.Purge(t.Context(), stream.Notify, "belay.notify.>"); err != nil {
		t.Fatal(err)
	}
	if a := o.attempts(3)[2]; a.Verdict != dead || a.Reason != ReasonExpired {
		t.Errorf("recorded %+v", a)
	}
	o.settled()
	letters := o.messages(stream.Dead)
	if len(letters) != 1 || headerValue(letters[0].Header, headerReason) != string(ReasonExpired) {
		t.Errorf("dead letters %+v", letters)
	}
}

// One delivery for each of many subscriptions, over several batches and shards.
func TestFanOut(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(func(c *Config) { c.chunk = 3 })
	s := newSubscriber(t, nil)
	const n = 20
	for i := range n {
		o.subscribe("key-a", map[string]any{"url": s.URL + "/" + strconv.Itoa(i), "filters": []string{"deploy.*", "deploy.done", "*"}})
	}
	o.notify("key-a", "n1", "deploy.done", `1`)
	paths := map[string]int{}
	for range n {
		paths[s.next(t).path]++
	}
	o.attempts(n)
	o.settled()
	s.none(t)
	if len(paths) != n {
		t.Errorf("posted to %v", paths)
	}
}

// A fan-out that died between two batches, or after a batch whose confirmation
// it did not see, goes on behind the last one that was stored.
func TestFanOutResumes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.run(nil)
	s := newSubscriber(t, nil)
	const n = 11
	for i := range n {
		first.subscribe("key-a", map[string]any{"url": s.URL + "/" + strconv.Itoa(i)})
	}
	subs := first.server.subscriptions.cache.match("default", "t")
	first.stop()

	e := &event.Event{ID: "n1", Source: "/test", Type: "t", Time: time.Now(), Tenant: "default", Body: []byte("1"), ContentType: "application/json"}
	if _, err := h.broker.StoreEvent(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	// What a process leaves that dies after the first batch of each shard.
	f := first.server.fanout()
	held := &stream.Held{Stream: stream.Notify, Seq: 1}
	left := map[int]int{}
	for shard := range h.broker.Shards() {
		var mine []*Subscription
		for _, sub := range subs {
			if shardOf(sub.ID, h.broker.Shards()) == shard {
				mine = append(mine, sub)
			}
		}
		half := len(mine) / 2 // the ids are random: a shard may have few
		if half == 0 {
			continue
		}
		if err := h.broker.PublishBatch(t.Context(), f.batch(held, e, shard, mine[:half])); err != nil {
			t.Fatal(err)
		}
		// The same batch once more, as after a lost confirmation: refused whole.
		if err := h.broker.PublishBatch(t.Context(), f.batch(held, e, shard, mine[:half])); err == nil {
			t.Error("a batch was stored twice")
		}
		left[shard] = len(mine) - half
	}
	h.run(func(c *Config) { c.chunk = 2 })
	ids := map[string]int{}
	for range n {
		ids[s.next(t).header.Get(webhook.HeaderID)]++
	}
	h.attempts(n)
	h.settled()
	s.none(t)
	if len(ids) != n {
		t.Errorf("%d different deliveries, want %d (left %v)", len(ids), n, left)
	}
	if got := fmt.Sprint(h.fanoutRecords()); got != fmt.Sprint([][]stream.Record{{{Seq: 1, Outcome: outcomeDone}}}) {
		t.Errorf("the ledger holds %s", got)
	}
}

// An outbox that is cut off in the middle of a fan-out leaves the rest to the
// next one, and every subscription still gets one delivery.
func TestFanOutIsCutOff(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.run(func(c *Config) { c.chunk, c.Grace = 1, time.Nanosecond })
	s := newSubscriber(t, nil)
	const n = 120
	for range n {
		first.subscribe("key-a", map[string]any{"url": s.URL})
	}
	first.notify("key-a", "n1", "t", `1`)
	s.next(t)
	first.stop()
	if len(h.fanoutRecords()) != 0 {
		t.Fatal("the fan-out was done before it could be cut off")
	}
	h.run(func(c *Config) { c.chunk = 7 })
	h.fannedOut(1)
	deliveries := map[string]int{}
	for _, a := range h.attempts(n) {
		deliveries[a.Delivery]++
	}
	h.settled()
	if len(deliveries) != n {
		t.Errorf("%d deliveries were attempted, want %d", len(deliveries), n)
	}
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
		if string(letter.Data) != "?" || headerValue(letter.Header, "x") != "y" || headerValue(letter.Header, headerReason) != string(ReasonUnreadable) {
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
