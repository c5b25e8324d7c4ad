package outbox

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/deadline"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// endpoint is a subscriber that answers with one status until the test sets another.
type endpoint struct {
	*subscriber
	status atomic.Int32
}

func newEndpoint(t *testing.T, status int) *endpoint {
	e := &endpoint{}
	e.status.Store(int32(status))
	e.subscriber = newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(e.status.Load())) })
	return e
}

// deliveries are a page of the list.
func (o *outbox) deliveries(query string) deliveryPage {
	o.t.Helper()
	r := o.do(http.MethodGet, "/v1/deliveries?"+query, "key-a", nil, "")
	if r.StatusCode != http.StatusOK {
		o.t.Fatalf("list: %d %s", r.StatusCode, r.body)
	}
	var page deliveryPage
	r.into(o.t, &page)
	return page
}

// delivery waits until a subscription has one delivery that is in a state after so
// many attempts, and returns it.
func (o *outbox) delivery(subscription, state string, attempts int) *deliveryView {
	o.t.Helper()
	var page deliveryPage
	eventually(o.t, "the delivery is "+state, func() bool {
		page = o.deliveries("subscription=" + subscription + "&state=" + state)
		return len(page.Deliveries) == 1 && page.Deliveries[0].Attempts == attempts
	})
	return page.Deliveries[0]
}

// order posts to a delivery.
func (o *outbox) order(want int, id, verb string) {
	o.t.Helper()
	if r := o.do(http.MethodPost, "/v1/deliveries/"+id+"/"+verb, "key-a", nil, ""); r.StatusCode != want {
		o.t.Fatalf("%s: %d %s, want %d", verb, r.StatusCode, r.body, want)
	}
}

func (o *outbox) shown(id string) deliveryView {
	o.t.Helper()
	r := o.do(http.MethodGet, "/v1/deliveries/"+id, "key-a", nil, "")
	if r.StatusCode != http.StatusOK {
		o.t.Fatalf("show: %d %s", r.StatusCode, r.body)
	}
	var v deliveryView
	r.into(o.t, &v)
	return v
}

// Every attempt can be read, with what was said, and without secrets.
func TestHistoryOfADelivery(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	s := newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "r-1")
		w.Header().Set("Set-Cookie", "session=tell-nobody")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte("out of order"))
	})
	sub, _ := o.subscribe("key-a", map[string]any{
		"url": s.URL, "schedule": []string{"1ms", "1h"}, "headers": map[string]string{"X-Token": "tell-nobody", "x-lower": "tell-nobody"},
	})
	o.notify("key-a", "n1", "deploy.done", `{"version":"1.4"}`)
	v := o.delivery(sub.ID, pending, 2)
	if v.Reason != ReasonServerError || v.WaitsFor != "schedule" || v.Next.Before(time.Now().Add(50*time.Minute)) || v.Type != "deploy.done" || v.Notification != "n1" {
		t.Errorf("listed %+v", v)
	}
	posted := s.next(t)
	if v.ID != posted.header.Get("Webhook-Id") || posted.header.Get("X-Token") != "tell-nobody" {
		t.Errorf("posted %v, listed %s", posted.header, v.ID)
	}
	for _, query := range []string{"", "?subscription=" + sub.ID} {
		one := o.shown(v.ID + query)
		if len(one.History) != 2 || one.Text == nil || *one.Text != `{"version":"1.4"}` || one.Status != 500 {
			t.Fatalf("shown %+v", one)
		}
		a := one.History[0]
		if a.Attempt != 1 || a.Verdict != retry || a.Next == nil || a.Response.Status != 500 || a.Response.Body != "out of order" ||
			a.Response.Header["X-Request-Id"][0] != "r-1" || a.Request.Header["Webhook-Id"][0] != v.ID {
			t.Errorf("attempt %+v", a)
		}
		if a.Response.Header["Set-Cookie"][0] != hidden || a.Request.Header["X-Token"][0] != hidden || a.Request.Header["X-Lower"][0] != hidden || a.Request.Header["Webhook-Signature"][0] != hidden {
			t.Errorf("a secret is kept: %v", a.Request.Header)
		}
	}
	for _, m := range o.messages(stream.Attempts) {
		if strings.Contains(string(m.Data)+event.HeaderValue(m.Header, headerRecord), "tell-nobody") {
			t.Error("a secret is stored")
		}
	}
	if r := o.do(http.MethodGet, "/v1/deliveries/"+v.ID, "key-b", nil, ""); r.StatusCode != http.StatusNotFound {
		t.Errorf("another tenant: %d", r.StatusCode)
	}
}

func TestRetryNow(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	e := newEndpoint(t, http.StatusInternalServerError)
	sub, _ := o.subscribe("key-a", map[string]any{"url": e.URL, "schedule": []string{"1h"}, "filters": []string{"t"}})
	o.notify("key-a", "n1", "t", `1`)
	id := o.delivery(sub.ID, pending, 1).ID
	e.next(t)

	// One that waits uses its schedule up, and is dead then.
	o.order(http.StatusAccepted, id, "retry")
	e.next(t)
	v := o.delivery(sub.ID, string(dead), 2)
	if v.ID != id || v.Reason != ReasonServerError {
		t.Errorf("dead: %+v", v)
	}
	// One that is dead has all of its schedule again.
	o.order(http.StatusAccepted, id, "retry")
	e.next(t)
	o.delivery(sub.ID, pending, 3)
	if page := o.deliveries("state=dead"); len(page.Deliveries) != 0 {
		t.Errorf("still dead: %+v", page.Deliveries[0])
	}
	e.status.Store(http.StatusOK)
	o.order(http.StatusAccepted, id, "retry")
	e.next(t)
	o.delivery(sub.ID, string(delivered), 4)
	// One that was delivered is sent once more, by the same id.
	o.order(http.StatusAccepted, id, "retry")
	if again := e.next(t); again.header.Get("Webhook-Id") != id || string(again.body) != "1" {
		t.Errorf("again: %+v", again)
	}
	eventually(t, "it is recorded", func() bool { return len(o.shown(id).History) == 5 })
	one := o.shown(id)
	verdicts := make([]decision, 0, 5)
	for _, a := range one.History {
		verdicts = append(verdicts, a.Verdict)
	}
	if !slices.Equal(verdicts, []decision{retry, dead, retry, delivered, delivered}) || one.History[1].By != "BELAY_API_KEYS:1" || one.History[0].By != "" {
		t.Errorf("history %v, by %+v", verdicts, one.History[1])
	}
	all := o.deliveries("subscription=" + sub.ID).Deliveries
	if len(all) != 1 || all[0].State != string(delivered) || all[0].Attempts != 5 {
		t.Errorf("all: %+v", all)
	}
	o.settled()
}

// Who orders an attempt gets it, whatever the breaker and the rate say.
func TestRetryNowPassesTheBreaker(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	e := newEndpoint(t, http.StatusServiceUnavailable)
	sub, _ := o.subscribe("key-a", map[string]any{"url": e.URL, "rate_limit": 0.01, "schedule": slices.Repeat([]string{"1h"}, 9)})
	o.notify("key-a", "n1", "t", `1`)
	for attempts := 1; attempts < 2+breakerFailures; attempts++ {
		e.next(t)
		o.order(http.StatusAccepted, o.delivery(sub.ID, pending, attempts).ID, "retry")
	}
	e.next(t)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	e := newEndpoint(t, http.StatusInternalServerError)
	sub, _ := o.subscribe("key-a", map[string]any{"url": e.URL, "schedule": []string{"1h"}})
	o.notify("key-a", "n1", "t", `1`)
	id := o.delivery(sub.ID, pending, 1).ID
	e.next(t)
	o.order(http.StatusAccepted, id, "cancel")
	v := o.delivery(sub.ID, string(cancelled), 1)
	o.settled()
	e.none(t)
	if one := o.shown(v.ID); one.State != string(cancelled) || len(one.History) != 2 || !one.History[1].Unsent || one.History[1].By == "" {
		t.Errorf("cancelled: %+v", one)
	}
	o.order(http.StatusConflict, id, "cancel")
	o.order(http.StatusNotFound, "msg_none", "cancel")
	// What was cancelled by mistake can still be sent.
	e.status.Store(http.StatusOK)
	o.order(http.StatusAccepted, id, "retry")
	e.next(t)
}

// What waits when a subscription is paused waits until it is resumed, and comes then,
// whichever outbox has parked it.
func TestPauseHoldsWhatWaits(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.run(nil)
	e := newEndpoint(t, http.StatusInternalServerError)
	sub, _ := o.subscribe("key-a", map[string]any{"url": e.URL, "schedule": []string{"300ms"}})
	o.notify("key-a", "n1", "t", `1`)
	e.next(t)
	one := "/v1/subscriptions/" + sub.ID
	if r := o.do(http.MethodPost, one+"/pause", "key-a", nil, ""); r.StatusCode != http.StatusOK {
		t.Fatal(r.StatusCode)
	}
	var v *deliveryView
	eventually(t, "it is held", func() bool {
		page := o.deliveries("state=pending&subscription=" + sub.ID)
		if len(page.Deliveries) == 1 {
			v = page.Deliveries[0]
		}
		return v != nil && v.WaitsFor == string(parkPaused)
	})
	o.order(http.StatusConflict, v.ID, "retry")
	e.none(t)
	o.stop()
	o = h.run(nil)
	e.status.Store(http.StatusOK)
	if r := o.do(http.MethodPost, one+"/resume", "key-a", nil, ""); r.StatusCode != http.StatusOK {
		t.Fatal(r.StatusCode)
	}
	e.next(t)
	o.delivery(sub.ID, string(delivered), 2)
	o.settled()
}

func TestListOfDeliveries(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	fine, broken := newEndpoint(t, http.StatusOK), newEndpoint(t, http.StatusBadRequest)
	sub, _ := o.subscribe("key-a", map[string]any{"url": fine.URL, "filters": []string{"a", "b"}})
	bad, _ := o.subscribe("key-a", map[string]any{"url": broken.URL, "schedule": []string{}, "filters": []string{"b"}})
	o.subscribe("key-b", map[string]any{"url": fine.URL})
	const n = 12
	for i := range n {
		o.notify("key-a", strconv.Itoa(i), map[bool]string{true: "a", false: "b"}[i%2 == 0], `1`)
	}
	o.notify("key-b", "theirs", "a", `1`)
	o.attempts(n + n/2 + 1)
	o.settled()
	for _, c := range []struct {
		query string
		want  int
	}{
		{"", n + n/2}, {"state=delivered", n}, {"state=dead", n / 2}, {"state=pending", 0}, {"state=cancelled", 0},
		{"subscription=" + bad.ID, n / 2}, {"subscription=" + sub.ID + "&type=b", n / 2}, {"notification=3", 2},
		{"reason=refused", n / 2}, {"from=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339), 0},
		{"until=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339), n + n/2}, {"subscription=none", 0},
	} {
		t.Run(c.query, func(t *testing.T) {
			got := make(map[string]bool)
			last := time.Now().Add(time.Hour)
			for cursor, pages := "", 0; ; pages++ {
				page := o.deliveries(c.query + "&limit=5&cursor=" + cursor)
				for _, v := range page.Deliveries {
					if got[v.ID] || v.Last.After(last.Add(time.Second)) {
						t.Errorf("out of order, or twice: %+v", v)
					}
					got[v.ID], last = true, v.Last
				}
				if cursor = page.Next; cursor == "" {
					break
				}
			}
			if len(got) != c.want {
				t.Errorf("%d deliveries, want %d", len(got), c.want)
			}
		})
	}
}

// A record whose confirmation was lost is stored once.
func TestAttemptIsRecordedOnce(t *testing.T) {
	h := newHouse(t)
	s := &shard{sender: &sender{broker: h.broker, history: history{broker: h.broker}}}
	e := &event.Event{ID: "n1", Source: "/test", Type: "t", Tenant: "default"}
	at := time.Now()
	a := &attempt{Delivery: deliveryID(e, at, "sub_1"), Subscription: "sub_1", Tenant: "default", Attempt: 1, At: at.UTC(), Verdict: delivered}
	for range 3 {
		r := &result{attempt: a, recorded: recordTried}
		if err := s.record(t.Context(), r); err != nil || r.recorded != recordStored {
			t.Fatalf("recorded %v: %v", r.recorded, err)
		}
		if err := s.record(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(h.messages(stream.Attempts)); n != 1 {
		t.Errorf("%d records are stored", n)
	}
	// The same attempt made again by another process is another one.
	again := *a
	again.At = a.At.Add(time.Millisecond)
	if err := s.record(t.Context(), &result{attempt: &again, recorded: recordTried}); err != nil {
		t.Fatal(err)
	}
	if n := len(h.messages(stream.Attempts)); n != 2 {
		t.Errorf("%d records are stored, want another one", n)
	}
}

// Attempts are recorded together. One whose record cannot be stored keeps none of the others
// from it, and none is stored twice.
func TestOneRecordSpoilsNoOther(t *testing.T) {
	h := newHouse(t)
	s := &shard{sender: &sender{
		broker: h.broker, history: history{broker: h.broker},
		settling: deadline.In(settleWithin), writing: deadline.In(writeWithin),
	}}
	e, at := &event.Event{ID: "n1", Source: "/test", Type: "t", Tenant: "default"}, time.Now().UTC()
	const n = 40
	var recording sync.WaitGroup
	for i := range n {
		a := &attempt{Delivery: deliveryID(e, at, "sub_"+strconv.Itoa(i)), Subscription: "sub_1", Tenant: "default", Attempt: 1, At: at, Verdict: delivered}
		want := error(nil)
		if i == n/2 {
			a.Detail, want = strings.Repeat("x", 70<<10), stream.ErrTooLarge
		}
		recording.Go(func() {
			r := &result{attempt: a}
			err := s.insist(s.settling.Context(), func(ctx context.Context) error { return s.record(ctx, r) })
			if !errors.Is(err, want) || (r.recorded == recordStored) != (want == nil) {
				t.Errorf("record %s: %v, recorded %v", a.Delivery, err, r.recorded)
			}
		})
	}
	recording.Wait()
	if stored := len(h.messages(stream.Attempts)); stored != n-1 {
		t.Errorf("%d records are stored, want %d", stored, n-1)
	}
}

// What has ended has ended, though its last message is not acknowledged yet: an order
// that was given to that message would be lost with it.
func TestWhatHasEndedIsNotDue(t *testing.T) {
	for _, c := range []struct {
		name   string
		ended  func(d *delivery) stream.Message // what is stored of attempt 2; nil: nothing
		state  string
		awaits bool
	}{
		{"due", nil, pending, true},
		{"attempted before", func(d *delivery) stream.Message { return recordOf(d, 1, retry) }, pending, true},
		{"delivered", func(d *delivery) stream.Message { return recordOf(d, 2, delivered) }, string(delivered), false},
		{"given up", func(d *delivery) stream.Message { return d.letter(nil, ReasonServerError, "") }, string(dead), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			e := &event.Event{ID: "n1", Source: "/test", Type: "t", Tenant: "default"}
			d := &delivery{id: deliveryID(e, time.Now(), "sub_1"), subscription: "sub_1", attempt: 2, notified: 1, event: e}
			if err := (history{broker: h.broker}).put(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			if c.ended != nil {
				if _, err := h.broker.Publish(t.Context(), c.ended(d)); err != nil {
					t.Fatal(err)
				}
			}
			f, err := history{broker: h.broker}.find(t.Context(), "default", d.id, "sub_1")
			if err != nil {
				t.Fatal(err)
			}
			if f.view.State != c.state || (f.waiting != nil) != c.awaits {
				t.Errorf("%s, awaited: %v; want %s, %v", f.view.State, f.waiting != nil, c.state, c.awaits)
			}
		})
	}
}

// recordOf is the record of an attempt.
func recordOf(d *delivery, number int, verdict decision) stream.Message {
	a := &attempt{Delivery: d.id, Subscription: d.subscription, Tenant: d.event.Tenant, Attempt: number, At: time.Now().UTC(), Verdict: verdict}
	m, err := a.message()
	if err != nil {
		panic(err)
	}
	return m
}

func TestTimeOfAnID(t *testing.T) {
	for _, c := range []struct {
		name, id string
		want     time.Time
	}{
		{"one of ours", deliveryID(&event.Event{ID: "1"}, testNow, "sub_1"), testNow.Truncate(time.Millisecond)},
		{"short", "msg_1", time.Time{}},
		{"no time", "msg_" + strings.Repeat("x", 40), time.Time{}},
		{"a wildcard", "msg_" + strings.Repeat("0", 12) + strings.Repeat("*", 28), time.Time{}},
		{"a dot", "msg_" + strings.Repeat("0", 12) + strings.Repeat(".", 28), time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := timeOf(c.id)
			if !got.Equal(c.want) || (err == nil) == c.want.IsZero() {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}
