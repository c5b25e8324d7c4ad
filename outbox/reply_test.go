package outbox

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/pkg/webhook"
)

// reply stores a notification that is for one URL, as a worker does.
func (h *house) reply(id, to, body string) {
	h.t.Helper()
	e := &event.Event{
		ID: id, Source: "/slack/default", Type: "slack.command", Tenant: "default", To: to,
		ContentType: "application/json", Body: []byte(body), Time: time.Now(),
	}
	if _, err := h.broker.StoreEvent(h.t.Context(), e); err != nil {
		h.t.Fatal(err)
	}
}

func TestNotificationForOneURL(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	s, other := newSubscriber(t, nil), newSubscriber(t, nil)
	o.subscribe("key-a", map[string]any{"url": other.URL, "filters": []string{"*"}})
	large := `{"text":"` + strings.Repeat("x", 2*maxInline) + `"}`
	o.reply("r1", s.URL+"/T0KEN", `{"text":"hi"}`)
	o.reply("r1", s.URL+"/T0KEN", `{"text":"hi"}`) // again after a crash
	o.reply("r2", s.URL+"/large", large)
	want := map[string]string{"/T0KEN": `{"text":"hi"}`, "/large": large}
	for range 2 {
		p := s.next(t)
		if string(p.body) != want[p.path] || p.header.Get("Content-Type") != "application/json" || p.header.Get(webhook.HeaderSignature) != "" {
			t.Errorf("posted %s %v %.40s", p.path, p.header, p.body)
		}
		delete(want, p.path)
	}
	for _, a := range o.attempts(2) {
		if a.Verdict != delivered || a.Tenant != "default" || !strings.HasPrefix(a.Subscription, "to_") || a.Type != "slack.command" {
			t.Errorf("recorded %+v", a)
		}
	}
	o.settled()
	s.none(t)
	other.none(t)
	if strings.Contains(o.log.String(), "T0KEN") {
		t.Error("the log shows the URL")
	}
}

func TestNotificationForOneURLFails(t *testing.T) {
	for name, test := range map[string]struct {
		status   int
		attempts int
		last     decision
		reason   Reason
		edit     func(*Config)
	}{
		"refused":            {status: 404, attempts: refusedToOne, last: dead, reason: ReasonRefused},
		"gone":               {status: 410, attempts: 1, last: gone, reason: ReasonGone},
		"down":               {status: 500, attempts: 6, last: dead, reason: ReasonServerError},
		"address is private": {attempts: 1, last: dead, reason: ReasonAddress, edit: func(c *Config) { c.Dev = false }},
		"address by its name": {attempts: 6, last: dead, reason: ReasonAddress, edit: func(c *Config) {
			c.Dev, c.AllowHTTP = false, true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newHouse(t).run(func(c *Config) {
				c.Schedule = []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond, time.Millisecond, time.Millisecond}
				if test.edit != nil {
					test.edit(c)
				}
			})
			s := newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(test.status) })
			to := s.URL
			if name == "address by its name" {
				to = strings.Replace(to, "127.0.0.1", "localhost", 1)
			}
			o.reply("r", to, `{}`)
			all := o.attempts(test.attempts)
			if a := all[len(all)-1]; a.Verdict != test.last || a.Reason != test.reason || a.Attempt != test.attempts {
				t.Errorf("recorded %+v", a)
			}
			o.settled()
			letters := o.messages(stream.Dead)
			if (test.last == dead) != (len(letters) == 1) {
				t.Errorf("%d dead letters", len(letters))
			}
		})
	}
}
