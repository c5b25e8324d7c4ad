package receiver

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func newRequest(contentType string, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "https://hooks.example.com/webhooks/x?q=1", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return r
}

// signed is a request as the provider of the source would send it.
func signed(tb testing.TB, s *Source, contentType string, body []byte, header map[string]string) *http.Request {
	tb.Helper()
	r := newRequest(contentType, body)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	if _, err := s.Sign(r, body, now); err != nil {
		tb.Fatal(err)
	}
	return r
}

func payload(tb testing.TB, path ...string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, path...)...))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func reasonOf(err error) Reason {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return refusal.Reason
	}
	if err != nil {
		return Reason("not a refusal: " + err.Error())
	}
	return ""
}

func TestGenuinePayloads(t *testing.T) {
	for _, test := range []struct {
		receiver, file, event string
		wantType, wantKey     string
	}{
		{"github", "push", "push", "github.push", "Codertocat/Hello-World"},
		{"github", "pull_request.opened", "pull_request", "github.pull_request.opened", "Codertocat/Hello-World"},
		{"github", "issues.opened", "issues", "github.issues.opened", "Codertocat/Hello-World"},
		{"github", "workflow_run.completed", "workflow_run", "github.workflow_run.completed", "Codertocat/Hello-World"},
		{"github", "check_run.completed", "check_run", "github.check_run.completed", "Codertocat/Hello-World"},
		{"stripe", "plan.created", "", "stripe.plan.created", "price_1PgafmB7WZ01zgkW6dKueIc5"},
		{"stripe", "charge.succeeded", "", "stripe.charge.succeeded", "ch_1PgafuB7WZ01zgkWXYmPNZs8"},
		{"stripe", "customer.subscription.created", "", "stripe.customer.subscription.created", "cus_QXg1o8vcGmoR32"},
	} {
		t.Run(test.receiver+"/"+test.file, func(t *testing.T) {
			s := newSource(t, SourceConfig{Receiver: test.receiver, ID: "eu"})
			body := payload(t, test.receiver, test.file+".json")
			header := map[string]string{"User-Agent": "Sender/1", "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Cookie": "x"}
			if name := s.EventHeader(); name != "" {
				header[name] = test.event
			}
			r := signed(t, s, "application/json; charset=utf-8", body, header)
			got, err := s.Receive(r, body, now)
			if err != nil {
				t.Fatal(err)
			}
			e := got.Event
			if e.Type != test.wantType || e.Key != test.wantKey || !bytes.Equal(e.Body, body) {
				t.Errorf("type %s, key %s", e.Type, e.Key)
			}
			wantID := r.Header.Get("X-GitHub-Delivery")
			if test.receiver == "stripe" {
				wantID = "evt_1Pgc76B7WZ01zgkW"
			}
			if wantID == "" || !strings.HasPrefix(e.ID, wantID) {
				t.Errorf("id %q, want %q", e.ID, wantID)
			}
			if e.Source != "/"+test.receiver+"/eu" || e.Receiver != test.receiver || e.SourceID != "eu" || !e.Time.Equal(now) {
				t.Errorf("event %+v", e)
			}
			if e.ContentType != "application/json; charset=utf-8" || e.Traceparent != header["Traceparent"] {
				t.Errorf("content type %q, traceparent %q", e.ContentType, e.Traceparent)
			}
			if e.Header.Get("User-Agent") != "Sender/1" || e.Header.Get("Cookie") != "" {
				t.Errorf("kept headers %v", e.Header)
			}
			if got.Answer.Status != http.StatusAccepted || len(got.Answer.Body) > 0 {
				t.Errorf("answer %+v", got.Answer)
			}
		})
	}
}

func TestGitHubForm(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "github"})
	body := []byte(url.Values{"payload": {string(payload(t, "github", "issues.opened.json"))}}.Encode())
	header := map[string]string{"X-GitHub-Event": "issues"}
	got, err := s.Receive(signed(t, s, "application/x-www-form-urlencoded", body, header), body, now)
	if err != nil {
		t.Fatal(err)
	}
	if got.Event.Type != "github.issues.opened" || got.Event.Key != "Codertocat/Hello-World" || !bytes.Equal(got.Event.Body, body) {
		t.Errorf("type %s, key %s", got.Event.Type, got.Event.Key)
	}
	for name, body := range map[string]string{
		"no payload": "a=b", "payload that is no JSON": "payload=%7B", "broken escape": "payload=%7", "empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			r := signed(t, s, "application/x-www-form-urlencoded", []byte(body), header)
			if _, err := s.Receive(r, []byte(body), now); reasonOf(err) != Unreadable {
				t.Errorf("error %v, want %s", err, Unreadable)
			}
		})
	}
}

func TestGitHubPing(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "github"})
	body := payload(t, "github", "ping.json")
	r := signed(t, s, "application/json", body, map[string]string{"X-GitHub-Event": "ping"})
	got, err := s.Receive(r, body, now)
	if err != nil || got.Event != nil || got.Answer.Status != http.StatusAccepted {
		t.Errorf("ping: %+v, %v", got, err)
	}
	r.Header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
	if _, err := s.Receive(r, body, now); reasonOf(err) != SignatureWrong {
		t.Errorf("forged ping: %v", err)
	}
}

func TestGitHubRefusesSHA1Alone(t *testing.T) {
	old := newSource(t, SourceConfig{Receiver: "generic", Params: map[string]string{"header": "X-Hub-Signature", "prefix": "sha1=", "hash": "sha1"}})
	s := newSource(t, SourceConfig{Receiver: "github"})
	body := []byte(`{}`)
	r := signed(t, old, "application/json", body, nil)
	if _, err := old.Receive(r, body, now); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(r, body, now); reasonOf(err) != SignatureMissing {
		t.Errorf("error %v, want %s", err, SignatureMissing)
	}
}

func TestUnreadable(t *testing.T) {
	github, generic := newSource(t, SourceConfig{Receiver: "github"}), newSource(t, SourceConfig{Receiver: "generic"})
	long := `{"type":"` + strings.Repeat("x", maxName+1) + `"}`
	for name, test := range map[string]struct {
		source            *Source
		contentType, body string
		want              Reason
	}{
		"no JSON":                  {github, "application/json", `{"a":`, Unreadable},
		"empty":                    {github, "application/json", ``, Unreadable},
		"two documents":            {github, "application/json", `{}{}`, Unreadable},
		"any type, JSON by name":   {generic, "application/json", `{"a":`, Unreadable},
		"any type, JSON by suffix": {generic, "application/problem+json", `hello`, Unreadable},
		"any type, text":           {generic, "text/plain", `hello`, ""},
		"any type, empty":          {generic, "text/plain", ``, ""},
		"endless name":             {generic, "application/json", long, Unreadable},
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(test.body)
			_, err := test.source.Receive(signed(t, test.source, test.contentType, body, nil), body, now)
			if reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestGenericParams(t *testing.T) {
	s := newSource(t, SourceConfig{
		Receiver: "generic", Key: "{json:order.customer}-{header:X-Shop}",
		Params: map[string]string{
			"header": "X-Shop-Hmac", "prefix": "v=", "encoding": "base64url", "hash": "sha512", "timestamp": "X-Shop-Time", "unit": "ms",
			"content": "{method}:{header:X-Shop-Time}:{body}", "id": "{header:X-Shop}-{json:order.no}", "event": "{header:X-Topic}",
		},
	})
	body := []byte(`{"order":{"no":17,"customer":"c1"}}`)
	got, err := s.Receive(signed(t, s, "application/json", body, map[string]string{"X-Shop": "s1", "X-Topic": "orders/create"}), body, now)
	if err != nil {
		t.Fatal(err)
	}
	if e := got.Event; e.ID != "s1-17" || e.Type != "generic.orders/create" || e.Key != "c1-s1" {
		t.Errorf("id %q, type %q, key %q", e.ID, e.Type, e.Key)
	}
}

func TestGenericWithoutID(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "generic", Params: map[string]string{"id": ""}})
	body := []byte(`{"type":"a"}`)
	ids := make(map[string]bool)
	for range 2 {
		got, err := s.Receive(signed(t, s, "application/json", body, nil), body, now)
		if err != nil {
			t.Fatal(err)
		}
		ids[got.Event.ID] = true
	}
	if len(ids) != 2 {
		t.Errorf("ids %v, want two", ids)
	}
}

func TestTraceparent(t *testing.T) {
	for value, want := range map[string]bool{
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": true,
		"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": false,
		"00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": false,
		"hello": false, "": false,
	} {
		if got := traceparent(http.Header{"Traceparent": {value}}); (got == value && got != "") != want {
			t.Errorf("%q: %q", value, got)
		}
	}
}
