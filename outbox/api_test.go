package outbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/pkg/webhook"
)

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	given := webhook.NewSecret().Reveal()
	first, secret := o.subscribe("key-a", map[string]any{
		"url": "https://example.com/hook?x=1", "filters": []string{"deploy.*", "push"}, "description": "Größe ✓", "secret": given,
	})
	if secret != given || first.Description != "Größe ✓" || len(first.Filters) != 2 || first.Tenant != "default" || first.Created.IsZero() {
		t.Errorf("created %+v with %q", first, secret)
	}
	second, made := o.subscribe("key-a", map[string]any{"url": "https://example.com/two"})
	if _, err := webhook.ParseSecret(made); err != nil || second.Filters[0] != "*" {
		t.Errorf("defaults: %+v, %v", second, err)
	}
	foreign, _ := o.subscribe("key-b", map[string]any{"url": "https://example.com/three"})

	one := o.do(http.MethodGet, "/v1/subscriptions/"+first.ID, "key-a", nil, "")
	if one.StatusCode != http.StatusOK || strings.Contains(string(one.body), "whsec_") || strings.Contains(string(one.body), `"secret"`) {
		t.Errorf("get: %d %s", one.StatusCode, one.body)
	}
	for _, id := range []string{foreign.ID, "sub_none", "a%2Fb", "other." + foreign.ID, "*", "%3E"} {
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			if r := o.do(method, "/v1/subscriptions/"+id, "key-a", nil, ""); r.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s: %d %s", method, id, r.StatusCode, r.body)
			}
		}
	}
	if r := o.do(http.MethodDelete, "/v1/subscriptions/"+first.ID, "key-a", nil, ""); r.StatusCode != http.StatusNoContent {
		t.Errorf("delete: %d %s", r.StatusCode, r.body)
	}
	if r := o.do(http.MethodGet, "/v1/subscriptions/"+first.ID, "key-a", nil, ""); r.StatusCode != http.StatusNotFound {
		t.Errorf("get what is deleted: %d", r.StatusCode)
	}
	if r := o.do(http.MethodGet, "/v1/subscriptions/"+foreign.ID, "key-b", nil, ""); r.StatusCode != http.StatusOK {
		t.Errorf("another tenant's is gone: %d", r.StatusCode)
	}
	if log := o.log.String(); strings.Contains(log, "whsec_") || strings.Contains(log, "key-a") {
		t.Error("the log shows a secret")
	}
}

func TestListPages(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	var want []string
	for i := range 7 {
		s, _ := o.subscribe("key-a", map[string]any{"url": fmt.Sprintf("https://example.com/%d", i)})
		want = append(want, s.ID)
	}
	o.subscribe("key-b", map[string]any{"url": "https://example.com/b"})
	var got []string
	cursor := ""
	for pages := 1; ; pages++ {
		r := o.do(http.MethodGet, "/v1/subscriptions?limit=3&cursor="+cursor, "key-a", nil, "")
		if strings.Contains(string(r.body), "whsec_") {
			t.Errorf("the list shows a secret: %s", r.body)
		}
		var p page
		r.into(t, &p)
		for _, s := range p.Subscriptions {
			got = append(got, s.ID)
		}
		if cursor = p.Next; cursor == "" {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	if r := o.do(http.MethodGet, "/v1/subscriptions", "key-b", nil, ""); !strings.Contains(string(r.body), "https://example.com/b") {
		t.Errorf("default page: %s", r.body)
	}
	for query, parameter := range map[string]string{
		"limit=0": "limit", "limit=501": "limit", "limit=x": "limit", "cursor=!!": "cursor", "cursor=Li4": "cursor", "page=2": "page",
	} {
		p := o.do(http.MethodGet, "/v1/subscriptions?"+query, "key-a", nil, "").problem(t)
		if p.Status != http.StatusUnprocessableEntity || len(p.Errors) != 1 || p.Errors[0].Parameter != parameter {
			t.Errorf("%s: %+v", query, p)
		}
	}
}

func TestAuthorization(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o, closed := h.run(nil), h.run(func(c *Config) { c.APIKeys = nil })
	paths := []struct{ method, path string }{
		{http.MethodGet, "/v1/subscriptions"}, {http.MethodPost, "/v1/subscriptions"},
		{http.MethodGet, "/v1/subscriptions/sub_1"}, {http.MethodDelete, "/v1/subscriptions/sub_1"},
		{http.MethodPost, "/v1/notifications"}, {http.MethodPut, "/v1/notifications"},
	}
	headers := map[string]string{
		"none": "", "wrong key": "Bearer nope", "empty": "Bearer ", "no scheme": "key-a",
		"basic": "Basic key-a", "tenant and key": "Bearer other=key-b", "case": "Bearer KEY-A",
	}
	for _, p := range paths {
		for name, value := range headers {
			header := http.Header{}
			if value != "" {
				header.Set("Authorization", value)
			}
			r := o.do(p.method, p.path, "", header, "{}")
			if got := r.problem(t); got.Status != http.StatusUnauthorized || r.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with %s: %+v", p.method, p.path, name, got)
			}
		}
		r := closed.do(p.method, p.path, "key-a", nil, "{}")
		if got := r.problem(t); got.Status != http.StatusUnauthorized || !strings.Contains(got.Detail, "BELAY_API_KEYS") {
			t.Errorf("%s %s without configured keys: %+v", p.method, p.path, got)
		}
	}
	if r := o.do(http.MethodGet, "/v1/subscriptions", "", http.Header{"Authorization": {"bearer key-a"}}, ""); r.StatusCode != http.StatusOK {
		t.Errorf("the scheme's case: %d", r.StatusCode)
	}
	if r := o.do(http.MethodPut, "/v1/subscriptions", "key-a", nil, ""); r.problem(t).Status != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "DELETE, GET, POST" {
		t.Errorf("method: %d %q", r.StatusCode, r.Header.Get("Allow"))
	}
	if r := o.do(http.MethodGet, "/v1/nothing", "key-a", nil, ""); r.problem(t).Status != http.StatusNotFound {
		t.Errorf("path: %d", r.StatusCode)
	}
}

func TestSubscriptionErrors(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	strict := h.run(func(c *Config) { c.Dev = false })
	long := strings.Repeat("a", 3000)
	field := func(name string, value any) string {
		fields := map[string]any{"url": "https://example.com/"}
		fields[name] = value
		data, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	many := make([]string, maxFilters+1)
	for i := range many {
		many[i] = "a"
	}
	cases := []struct {
		name, body string
		status     int
		pointers   string
	}{
		{"no JSON", "nope", 400, ""},
		{"empty", "", 400, ""},
		{"list", "[]", 400, ""},
		{"null", "null", 400, ""},
		{"cut short", `{"url":"https://example.com/`, 400, ""},
		{"two objects", `{} {}`, 400, ""},
		{"not UTF-8", "{\"url\":\"\xff\"}", 400, ""},
		{"too large", field("description", strings.Repeat("a", maxSubscriptionBody)), 413, ""},
		{"ten megabytes", field("description", strings.Repeat("a", 10<<20)), 413, ""},
		{"no url", `{}`, 422, "#/url"},
		{"null url", `{"url":null}`, 422, "#/url"},
		{"several", `{"url":1,"filters":[""],"x/y":1,"A b":2}`, 422, "#/A%20b #/x~1y #/url #/filters/0"},
		{"unknown field", field("secrets", nil), 422, "#/secrets"},
		{"case of a field", `{"URL":"https://example.com/","url":"https://example.com/"}`, 422, "#/URL"},
		{"url of another type", `{"url":["https://example.com/"]}`, 422, "#/url"},
		{"relative", field("url", "/hook"), 422, "#/url"},
		{"no host", field("url", "https:///hook"), 422, "#/url"},
		{"opaque", field("url", "https:example.com"), 422, "#/url"},
		{"empty url", field("url", ""), 422, "#/url"},
		{"plain http", field("url", "http://example.com/"), 422, "#/url"},
		{"file", field("url", "file:///etc/passwd"), 422, "#/url"},
		{"gopher", field("url", "gopher://example.com/"), 422, "#/url"},
		{"credentials", field("url", "https://user:pass@example.com/"), 422, "#/url"},
		{"user", field("url", "https://user@example.com/"), 422, "#/url"},
		{"fragment", field("url", "https://example.com/#x"), 422, "#/url"},
		{"empty fragment", field("url", "https://example.com/#"), 422, "#/url"},
		{"header injection", field("url", "https://example.com/\r\nX-Evil: 1"), 422, "#/url"},
		{"space", field("url", "https://example.com/a b"), 422, "#/url"},
		{"other script behind the host", field("url", "https://example.com/exämple"), 422, "#/url"},
		{"host that no name is", field("url", "https://exämple..com/"), 422, "#/url"},
		{"host of a look-alike slash", field("url", "https://exämple.com／evil/"), 422, "#/url"},
		{"port of another protocol", field("url", "https://example.com:25/"), 422, "#/url"},
		{"private filter among the others", field("filters", []string{"ms_private_x"}), 422, "#/filters/0"},
		{"headers of a list", field("headers", []string{"A: b"}), 422, "#/headers"},
		{"header with a line break", field("headers", map[string]string{"X-A": "b\r\nX-Evil: 1"}), 422, "#/headers/X-A"},
		{"header name with a line break", field("headers", map[string]string{"X-A: b\r\nX-B": "c"}), 422, "#/headers/X-A:%20b%0D%0AX-B"},
		{"header of the connection", field("headers", map[string]string{"Transfer-Encoding": "chunked", "Host": "a"}), 422, "#/headers/Host #/headers/Transfer-Encoding"},
		{"header of a signature", field("headers", map[string]string{"Webhook-Signature": "v1,AAAA"}), 422, "#/headers/Webhook-Signature"},
		{"header twice", field("headers", map[string]string{"X-A": "1", "x-a": "2"}), 422, "#/headers/x-a"},
		{"long header", field("headers", map[string]string{"X-A": long}), 422, "#/headers/X-A"},
		{"properties of a list", field("properties", []string{}), 422, "#/properties"},
		{"large properties", field("properties", map[string]string{"a": strings.Repeat("b", maxProperty)}), 422, "#/properties"},
		{"property without a name", field("properties", map[string]int{"": 1}), 422, "#/properties/"},
		{"body shape", field("body", "xml"), 422, "#/body"},
		{"signing", field("signing", "md5"), 422, "#/signing"},
		{"condition that is none", field("when", "1 +"), 422, "#/when"},
		{"condition of another type", field("when", "1 + 1"), 422, "#/when"},
		{"long condition", field("when", long), 422, "#/when"},
		{"paused of a text", field("paused", "yes"), 422, "#/paused"},
		{"negative rate", field("rate_limit", -1), 422, "#/rate_limit"},
		{"no concurrency", field("concurrency", 0), 422, "#/concurrency"},
		{"half a slot", field("concurrency", 1.5), 422, "#/concurrency"},
		{"schedule of numbers", field("schedule", []int{5}), 422, "#/schedule/0"},
		{"schedule that is no time", field("schedule", []string{"5s", "soon", "-1s"}), 422, "#/schedule/1 #/schedule/2"},
		{"schedule longer than notifications are kept", field("schedule", []string{"100h", "100h"}), 422, "#/schedule"},
		{"timeout of hours", field("timeout", "2h"), 422, "#/timeout"},
		{"timeout that is no time", field("timeout", "x"), 422, "#/timeout"},
		{"secret of another scheme", `{"url":"https://example.com/","signing":"ms-signature","secret":"short"}`, 422, "#/secret"},
		{"backslash", field("url", `https://example.com\@evil.com/`), 422, "#/url"},
		{"long url", field("url", "https://example.com/"+long), 422, "#/url"},
		{"port 0", field("url", "https://example.com:0/"), 422, "#/url"},
		{"port 65536", field("url", "https://example.com:65536/"), 422, "#/url"},
		{"empty port", field("url", "https://example.com:/"), 422, "#/url"},
		{"port of letters", field("url", "https://example.com:x/"), 422, "#/url"},
		{"IPv6 zone", field("url", "https://[fe80::1%25eth0]/"), 422, "#/url"},
		{"loopback", field("url", "https://127.0.0.1/"), 422, "#/url"},
		{"metadata", field("url", "https://169.254.169.254/latest"), 422, "#/url"},
		{"IPv4-mapped", field("url", "https://[::ffff:10.0.0.1]/"), 422, "#/url"},
		{"empty label", field("url", "https://a..b/"), 422, "#/url"},
		{"escaped host", field("url", "https://a%41b/"), 422, "#/url"},
		{"long description", field("description", strings.Repeat("a", maxDescription+1)), 422, "#/description"},
		{"description of a number", field("description", 5), 422, "#/description"},
		{"control character", field("description", "a\x00b"), 422, "#/description"},
		{"filters of a string", field("filters", "*"), 422, "#/filters"},
		{"no filters", field("filters", []string{}), 422, "#/filters"},
		{"many filters", field("filters", many), 422, "#/filters"},
		{"empty filter", field("filters", []string{"a", ""}), 422, "#/filters/1"},
		{"part of a token", field("filters", []string{"dep*"}), 422, "#/filters/0"},
		{"filter of null", field("filters", []any{nil}), 422, "#/filters/0"},
		{"long filter", field("filters", []string{long}), 422, "#/filters/0"},
		{"secret without prefix", field("secret", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), 422, "#/secret"},
		{"short secret", field("secret", "whsec_AAAA"), 422, "#/secret"},
		{"empty secret", field("secret", ""), 422, "#/secret"},
		{"long secret", field("secret", "whsec_"+long), 422, "#/secret"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := strict.do(http.MethodPost, "/v1/subscriptions", "key-a", jsonBody, c.body)
			p := r.problem(t)
			var pointers []string
			for _, e := range p.Errors {
				if e.Detail == "" {
					t.Errorf("%s says nothing", e.Pointer)
				}
				pointers = append(pointers, e.Pointer)
			}
			if p.Status != c.status || strings.Join(pointers, " ") != c.pointers {
				t.Errorf("got %d %v, want %d %s: %s", p.Status, pointers, c.status, c.pointers, r.body)
			}
			if strings.Contains(string(r.body), "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") || strings.Contains(string(r.body), "user:pass") {
				t.Errorf("the answer repeats a secret: %s", r.body)
			}
		})
	}
	if r := strict.do(http.MethodPost, "/v1/subscriptions", "key-a", http.Header{"Content-Type": {"text/plain"}}, "{}"); r.problem(t).Status != http.StatusUnsupportedMediaType {
		t.Errorf("content type: %d", r.StatusCode)
	}
	keys, err := h.broker.Bucket(stream.Subscriptions).Keys(t.Context(), ">")
	if err != nil || len(keys) != 0 {
		t.Errorf("stored %v, %v", keys, err)
	}
	for _, good := range []string{
		"https://example.com", "https://EXAMPLE.com:8443/a?b=c&d=%20", "https://xn--exmple-cua.com/", "https://exämple.com:8443/a", "https://[2606:2800:220:1::1]/", "https://93.184.216.34/",
	} {
		if r := strict.do(http.MethodPost, "/v1/subscriptions", "key-a", jsonBody, field("url", good)); r.StatusCode != http.StatusCreated {
			t.Errorf("%s: %d %s", good, r.StatusCode, r.body)
		}
	}
}

func FuzzNewSubscription(f *testing.F) {
	f.Add([]byte(`{"url":"https://example.com/hook","filters":["deploy.*"],"description":"x","secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}`))
	f.Add([]byte(`{"url":"https://[::ffff:10.0.0.1]:0/#","filters":[null],"a/b":1}`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`{"url":"https://bücher.example/","headers":{"X-A":"b"},"properties":{"a":{"b":1}},"body":"aspnet","signing":"ms-signature","paused":true,"rate_limit":0.5,"concurrency":3,"schedule":["5s"],"timeout":"3s","private_filters":["MS_Private_a"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := newSubscription(body, caller{tenant: "acme", access: accessOperator}, addressPolicy{}, testNow)
		if err != nil {
			if p, unexpected := rest.ProblemOf(err); unexpected || p.Status != http.StatusBadRequest && p.Status != http.StatusUnprocessableEntity {
				t.Fatalf("an error that is no problem: %v", err)
			}
			return
		}
		// What is accepted can be kept, matched and posted to.
		data, err := vault{}.encode(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := vault{}.decode(data, 1)
		if err != nil {
			t.Fatalf("kept, it cannot be read: %v", err)
		}
		if again.URL != s.URL || len(again.Filters) == 0 || again.secrets[0].Text != s.secrets[0].Text {
			t.Fatalf("kept %+v, read %+v", s, again)
		}
		if fmt.Sprint(again.Headers, again.Schedule, again.Timeout, again.RateLimit, again.Concurrency, again.PrivateFilters, again.Properties) !=
			fmt.Sprint(s.Headers, s.Schedule, s.Timeout, s.RateLimit, s.Concurrency, s.PrivateFilters, s.Properties) {
			t.Fatalf("kept %+v, read %+v", s, again)
		}
		r, err := http.NewRequest(http.MethodPost, s.URL, nil)
		if err != nil || r.URL.Scheme != "https" || r.URL.Hostname() == "" || r.URL.User != nil || r.URL.Fragment != "" {
			t.Fatalf("accepted the URL %q: %v", s.URL, err)
		}
	})
}

// What one process creates, another one sees too, and no secret is lost when a
// third one starts later.
func TestSubscriptionsOfOthers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b := h.run(nil), h.run(nil)
	sub, _ := a.subscribe("key-a", map[string]any{"url": "https://example.com/"})
	if r := b.do(http.MethodGet, "/v1/subscriptions/"+sub.ID, "key-a", nil, ""); r.StatusCode != http.StatusOK {
		t.Errorf("at another one: %d", r.StatusCode)
	}
	a.stop()
	b.stop()
	c := h.run(nil)
	var p page
	c.do(http.MethodGet, "/v1/subscriptions", "key-a", nil, "").into(t, &p)
	if len(p.Subscriptions) != 1 || p.Subscriptions[0].ID != sub.ID {
		t.Errorf("after a restart: %+v", p)
	}
}
