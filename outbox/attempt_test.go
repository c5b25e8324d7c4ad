package outbox

import (
	"encoding/json"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/pkg/webhook"
)

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
	if e.ID != "n1" || string(e.Body) != `{"a":1}` || event.HeaderValue(letter.Header, headerReason) != string(ReasonServerError) || event.HeaderValue(letter.Header, headerAttempt) != "3" {
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
	if letters := o.messages(stream.Dead); len(letters) != 1 || event.HeaderValue(letters[0].Header, headerReason) != string(ReasonDisabled) {
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
	o.settled()
	s.none(t)
	if a := o.attempts(2)[1]; a.Verdict != cancelled || a.Reason != ReasonDeleted || !a.Unsent {
		t.Errorf("recorded %+v", a)
	}
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

// What is written of an attempt is what encoding/json reads and would have written.
func FuzzAttemptRecord(f *testing.F) {
	f.Add("sub_1", "it \"said\" <no>\n", "X-Trace", "\xff\x00\u2028", 503, 1.5)
	f.Add("", "", "", "", 0, 0.0)
	f.Fuzz(func(t *testing.T, id, detail, name, value string, status int, ms float64) {
		if math.IsNaN(ms) || math.IsInf(ms, 0) {
			return // no time that an attempt takes
		}
		header := map[string][]string{name: {value, detail}, "A": nil, "B": {}}
		next := time.Unix(int64(status), int64(status)).UTC()
		a := &attempt{Delivery: id, Detail: detail, Milliseconds: ms, Verdict: delivered, At: next, Next: &next, exchange: exchange{
			Request: &sent{header}, Response: &response{Status: status, Header: header, Body: value},
		}}
		m, err := a.message()
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAttempt(&stream.Stored{Header: m.Header, Data: m.Data})
		if err != nil {
			t.Fatal(err)
		}
		want := &attempt{}
		for _, half := range []struct{ from, into any }{{a, want}, {&a.exchange, &want.exchange}} {
			text, err := json.Marshal(half.from)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, half.into); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("read %+v %+v, want %+v %+v", got, got.exchange, want, want.exchange)
		}
	})
}
