package outbox

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

var testNow = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func TestParseNotification(t *testing.T) {
	t.Parallel()
	binary := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	required := []string{"ce-specversion", "1.0", "ce-id", "1", "ce-source", "/s", "ce-type", "deploy.done"}
	cases := []struct {
		name   string
		header http.Header
		body   string
		check  func(e *event.Event) bool
	}{
		{"structured", structured, `{"specversion":"1.0","id":"1","source":"/s","type":"deploy.done","time":"2026-01-02T03:04:05.6+01:00","data":{"a" : 1}}`,
			func(e *event.Event) bool {
				return e.ID == "1" && e.Source == "/s" && e.Name() == "deploy.done" && string(e.Body) == `{"a" : 1}` &&
					e.ContentType == "application/json" && e.Time.Equal(time.Date(2026, 1, 2, 2, 4, 5, 6e8, time.UTC))
			}},
		{"charset parameter", http.Header{"Content-Type": {"Application/CloudEvents+JSON; charset=utf-8"}}, `{"specversion":"1.0","id":"1","source":"/s","type":"deploy.done"}`,
			func(e *event.Event) bool { return e.Body == nil && e.ContentType == "" && e.Time.Equal(testNow) }},
		{"data of null", structured, `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":null}`,
			func(e *event.Event) bool { return string(e.Body) == "null" }},
		{"data of a string is JSON", structured, `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"x"}`,
			func(e *event.Event) bool { return string(e.Body) == `"x"` }},
		{"text", structured, `{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/plain","data":"x\n"}`,
			func(e *event.Event) bool { return string(e.Body) == "x\n" && e.ContentType == "text/plain" }},
		{"base64", structured, `{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"image/png","data_base64":"AAH/"}`,
			func(e *event.Event) bool { return string(e.Body) == "\x00\x01\xff" && e.ContentType == "image/png" }},
		{"attributes are kept", structured, `{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"x","ext":5,"flag":true,"none":null,"traceparent":"00-1"}`,
			func(e *event.Event) bool {
				return e.Header.Get("Ce-Subject") == "x" && e.Header.Get("Ce-Ext") == "5" && e.Header.Get("Ce-Flag") == "true" &&
					len(e.Header) == 3 && e.Traceparent == "00-1"
			}},
		{"binary", binary(append(required, "Content-Type", "text/plain", "ce-subject", "a%20%E2%9C%93", "Traceparent", "00-2", "X-Other", "y")...), "body",
			func(e *event.Event) bool {
				return e.ID == "1" && string(e.Body) == "body" && e.ContentType == "text/plain" &&
					e.Header.Get("Ce-Subject") == "a ✓" && len(e.Header) == 1 && e.Traceparent == "00-2"
			}},
		{"binary, quoted", binary(append(required, "ce-subject", `"a \"b\""`)...), "",
			func(e *event.Event) bool { return e.Header.Get("Ce-Subject") == `a "b"` && e.ContentType == "" }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e, err := parseNotification(c.header, []byte(c.body), "acme", testNow)
			if err != nil {
				t.Fatalf("%v", err)
			}
			if e.Tenant != "acme" || !c.check(e) {
				t.Errorf("read %+v", e)
			}
		})
	}
}

func TestNotificationErrors(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	valid := func(edit string) string {
		fields := map[string]any{"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
		if err := json.Unmarshal([]byte(edit), &fields); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	ce := func(pairs ...string) http.Header {
		h := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"/s"}, "Ce-Type": {"t"}}
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] == "" {
				h.Del(pairs[i])
				continue
			}
			h[http.CanonicalHeaderKey(pairs[i])] = strings.Split(pairs[i+1], "|")
		}
		return h
	}
	batched := http.Header{"Content-Type": {batchType}}
	cases := []struct {
		name   string
		header http.Header
		body   string
		status int
		where  string
	}{
		{"no CloudEvent", jsonBody, `{}`, 415, ""},
		{"nothing at all", nil, ``, 415, ""},
		{"empty batch", batched, `[]`, 422, ""},
		{"no batch", batched, `{}`, 400, ""},
		{"batch of too many", batched, "[" + strings.Repeat("{},", maxBatchEvents) + "{}]", 422, ""},
		{"wrong in a batch", batched, "[" + valid(`{}`) + `,{"specversion":"1.0","id":"2","type":"t","data":1,"data_base64":"x"}]`, 422, "#/1/data_base64 #/1/source"},
		{"nothing in a batch", batched, "[" + valid(`{}`) + ",null]", 400, ""},
		{"twice in a batch", batched, "[" + valid(`{}`) + "," + valid(`{}`) + "]", 422, "#/1/id"},
		{"not JSON", structured, `x`, 400, ""},
		{"list", structured, `[]`, 400, ""},
		{"empty object", structured, `{}`, 422, "#/id #/source #/specversion #/type"},
		{"version", structured, valid(`{"specversion":"0.3"}`), 422, "#/specversion"},
		{"id of null", structured, valid(`{"id":null}`), 422, "#/id"},
		{"empty id", structured, valid(`{"id":""}`), 422, "#/id"},
		{"id of an object", structured, valid(`{"id":{}}`), 422, "#/id"},
		{"long id", structured, valid(`{"id":"` + strings.Repeat("a", maxEventID+1) + `"}`), 422, "#/id"},
		{"control character", structured, valid(`{"type":"a\u0000b"}`), 422, "#/type"},
		{"source", structured, valid(`{"source":"http://[bad"}`), 422, "#/source"},
		{"time", structured, valid(`{"time":"yesterday"}`), 422, "#/time"},
		{"time before the years in UTC", structured, valid(`{"time":"0001-01-01T00:00:00+23:59"}`), 422, "#/time"},
		{"content type", structured, valid(`{"datacontenttype":"?"}`), 422, "#/datacontenttype"},
		{"content type injection", structured, valid(`{"datacontenttype":"text/plain\r\nX-Evil: 1"}`), 422, "#/datacontenttype"},
		{"attribute name", structured, valid(`{"My_Attr":"x"}`), 422, "#/My_Attr"},
		{"attribute of a list", structured, valid(`{"ext":[1]}`), 422, "#/ext"},
		{"fraction", structured, valid(`{"ext":1.5}`), 422, "#/ext"},
		{"data twice", structured, valid(`{"data":1,"data_base64":"AA=="}`), 422, "#/data_base64"},
		{"bad base64", structured, valid(`{"data_base64":"A"}`), 422, "#/data_base64"},
		{"base64 of a number", structured, valid(`{"data_base64":1}`), 422, "#/data_base64"},
		{"object as text", structured, valid(`{"datacontenttype":"text/plain","data":{}}`), 422, "#/data"},
		{"large data", structured, valid(`{"data":"` + strings.Repeat("a", maxData) + `"}`), 413, ""},
		{"large body", structured, strings.Repeat(" ", maxNotificationBody+1), 413, ""},
		{"binary without type", ce("ce-type", ""), "", 422, "ce-type"},
		{"binary without all", ce("ce-type", "", "ce-source", "", "ce-id", ""), "", 422, "ce-id ce-source ce-type"},
		{"binary bad escape", ce("ce-subject", "%zz"), "", 422, "ce-subject"},
		{"binary not UTF-8", ce("ce-subject", "%ff"), "", 422, "ce-subject"},
		{"binary injection", ce("ce-id", "a%0D%0Ab"), "", 422, "ce-id"},
		{"binary twice", ce("ce-subject", "a|b"), "", 422, "ce-subject"},
		{"binary content type", ce("content-type", "???"), "", 422, "content-type"},
		{"binary large", ce(), strings.Repeat("a", maxData+1), 413, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := o.do(http.MethodPost, "/v1/notifications", "key-a", c.header, c.body)
			p := r.problem(t)
			var where []string
			for _, e := range p.Errors {
				where = append(where, e.Pointer+e.Header)
			}
			if p.Status != c.status || strings.Join(where, " ") != c.where {
				t.Errorf("got %d %v, want %d %s: %s", p.Status, where, c.status, c.where, r.body)
			}
		})
	}
	if stored := o.messages(stream.Notify); len(stored) != 0 {
		t.Errorf("%d notifications are stored", len(stored))
	}
}

func FuzzParseNotification(f *testing.F) {
	f.Add(structuredType, "", "", "", []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}`))
	f.Add(structuredType, "", "", "", []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"AA==","ext":5,"datacontenttype":"a/b"}`))
	f.Add(batchType, "", "", "", []byte(`[{"specversion":"1.0","id":"1","source":"/s","type":"t"},{"specversion":"1.0","id":"2","source":"/s","type":"t","data":null}]`))
	f.Add("text/plain", "1", "t", `"a\"b"`, []byte("body"))
	f.Add("", "%41", "a.b", "%E2%9C%93", []byte(nil))
	f.Fuzz(func(t *testing.T, contentType, id, eventType, subject string, body []byte) {
		h := http.Header{"Content-Type": {contentType}}
		if id != "" {
			h = http.Header{"Content-Type": {contentType}, "Ce-Specversion": {"1.0"}, "Ce-Id": {id}, "Ce-Source": {"/s"}, "Ce-Type": {eventType}, "Ce-Subject": {subject}}
		}
		all, _, err := parseNotifications(h, body, "acme", testNow)
		if err != nil {
			if p, unexpected := rest.ProblemOf(err); unexpected || p.Status < 400 || p.Status > 422 {
				t.Fatalf("an error that is no problem: %v", err)
			}
			return
		}
		for _, e := range all {
			sendable(t, e)
		}
	})
}

// sendable fails unless what is accepted survives its way through the broker and can be
// sent.
func sendable(t *testing.T, e *event.Event) {
	t.Helper()
	again, err := event.Decode(e.Encode())
	if err != nil {
		t.Fatalf("stored, it cannot be read: %v", err)
	}
	if again.ID != e.ID || again.Type != e.Type || again.ContentType != e.ContentType || string(again.Body) != string(e.Body) ||
		again.MsgID() != e.MsgID() || len(again.Header) != len(e.Header) {
		t.Fatalf("stored %+v, read %+v", e, again)
	}
	if !validHeaderText(e.ContentType) {
		t.Fatalf("the content type %q cannot be sent", e.ContentType)
	}
}

func TestBatchOfNotifications(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	s := newSubscriber(t, nil)
	o.subscribe("key-a", map[string]any{"url": s.URL})
	o.notify("key-a", "2", "t", `2`)
	batch := `[{"specversion":"1.0","id":"1","source":"/test","type":"t","data":1},
		{"specversion":"1.0","id":"2","source":"/test","type":"t","data":2},
		{"specversion":"1.0","id":"3","source":"/test","type":"t","data":3}]`
	r := o.do(http.MethodPost, notificationsPath, "key-a", http.Header{"Content-Type": {batchType}}, batch)
	var got acceptedAll
	r.into(t, &got)
	if want := []accepted{{"1", false}, {"2", true}, {"3", false}}; r.StatusCode != http.StatusAccepted || !slices.Equal(got.Accepted, want) {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	bodies := map[string]bool{}
	for range 3 {
		bodies[string(s.next(t).body)] = true
	}
	if len(bodies) != 3 {
		t.Errorf("posted %v", bodies)
	}
	o.settled()
	s.none(t)
}
