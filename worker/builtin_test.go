package worker_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

// chain is the only chain of a file whose handlers are these lines.
func chain(t *testing.T, b *stream.Broker, handlers string) handler.Chain {
	t.Helper()
	file, err := config.Parse("belay.yaml", []byte("chains:\n- name: slash\n  retry: {attempts: 1}\n  handlers:\n"+handlers), config.Options{Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	chains, err := worker.Chains(file, b, testbroker.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	return chains[0]
}

// slash is a Slack command as it is stored.
func slash(responseURL string) *event.Event {
	form := url.Values{"command": {"/deploy"}, "text": {`a "b"`}, "response_url": {responseURL}}
	return &event.Event{ID: event.NewID(), Type: "github.command", ContentType: "application/x-www-form-urlencoded", Body: []byte(form.Encode())}
}

func TestRespond(t *testing.T) {
	b := testbroker.New(t)
	for name, test := range map[string]struct {
		handler string
		want    *handler.Response // nil: an error
	}{
		"text":    {"{}", &handler.Response{Status: 200}},
		"status":  {`{status: 404, headers: {x-a: b}}`, &handler.Response{Status: 404, Header: http.Header{"X-A": {"b"}}}},
		"filled":  {`{content_type: application/json, body: '{"text":"ran {form:text}"}'}`, &handler.Response{Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"text":"ran a \"b\""}`)}},
		"lacking": {`{body: "{form:none}"}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			step := chain(t, b, "  - name: h\n    respond: "+test.handler+"\n").Steps[0]
			got, err := step.Handler.Handle(t.Context(), slash(""))
			if test.want == nil {
				if !handler.IsNever(err) {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err != nil || got.Status != test.want.Status || string(got.Body) != string(test.want.Body) || len(got.Header) != len(test.want.Header) {
				t.Fatalf("got %+v, %v", got, err)
			}
			for name := range test.want.Header {
				if got.Header.Get(name) != test.want.Header.Get(name) {
					t.Errorf("header %v", got.Header)
				}
			}
		})
	}
}

func TestBuiltInTextIsChecked(t *testing.T) {
	file, err := config.Parse("belay.yaml", []byte(`chains:
- name: a
  handlers:
  - {name: x, respond: {body: "{url}"}}
  - {name: y, reply: {to: "{query:a}", hosts: [a.example], body: b}}
  - {name: z, reply: {to: "{form:a}", hosts: [a.example], body: "{json:.}"}}
`), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = worker.Chains(file, nil, testbroker.Logger(t))
	for _, want := range []string{"handlers[0]: respond.body: want", "handlers[1]: reply.to: want", "handlers[2]: reply.body: want"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant in it %s", err, want)
		}
	}
}

// backend answers each post with its path as the status' name.
func backend(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/json":
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Set-Cookie", "a=b")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"text":"from the backend"}`)
		case "/text":
			_, _ = io.WriteString(w, "plain")
		case "/large":
			_, _ = w.Write(make([]byte, stream.MaxAnswer+100))
		default:
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, "broken")
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestBackendAnswersTheSender(t *testing.T) {
	address := backend(t)
	for path, want := range map[string]stream.Answer{
		"/json":   {Status: 201, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"text":"from the backend"}`)},
		"/text":   {Status: 200, Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, Body: []byte("plain")},
		"/large":  {},
		"/broken": {}, // a failure, and the last attempt
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			b := testbroker.New(t)
			start(t, worker.Config{Broker: b}, chain(t, b, "  - {name: h, http: {url: \""+address+path+"\", response: true}}\n"))
			got := waitForAnswer(t, b, "slash")
			if got.Status != want.Status || string(got.Body) != string(want.Body) || len(got.Header) != len(want.Header) ||
				len(want.Header) > 0 && got.Header["Content-Type"][0] != want.Header["Content-Type"][0] {
				t.Errorf("got %d %v %.40s", got.Status, got.Header, got.Body)
			}
		})
	}
}

func TestReplyIsHandedToTheOutbox(t *testing.T) {
	address := backend(t)
	for name, test := range map[string]struct {
		handlers string
		to       string
		want     string // empty: a dead letter
	}{
		"text":         {"  - {name: r, reply: {to: '{form:response_url}', hosts: [hooks.example.com], body: '{\"text\":\"ran {form:text}\"}'}}\n", "https://hooks.example.com/T0KEN", `{"text":"ran a \"b\""}`},
		"value, JSON":  {"  - {name: h, http: {url: \"" + address + "/json\", keep: said}}\n  - {name: r, reply: {to: '{form:response_url}', hosts: [hooks.example.com], value: said}}\n", "https://HOOKS.example.com/T0KEN", `{"text":"from the backend"}`},
		"value, text":  {"  - {name: h, http: {url: \"" + address + "/text\", keep: said}}\n  - {name: r, reply: {to: '{form:response_url}', hosts: [hooks.example.com], value: said, content_type: text/plain}}\n", "https://hooks.example.com/T0KEN", "plain"},
		"no value":     {"  - {name: r, reply: {to: '{form:response_url}', hosts: [hooks.example.com], value: said}}\n", "https://hooks.example.com/T0KEN", ""},
		"too large":    {"  - {name: h, http: {url: \"" + address + "/large\", keep: said}}\n", "", ""},
		"another host": {"  - {name: r, reply: {to: '{form:response_url}', hosts: [hooks.example.com], body: x}}\n", "https://hooks.example.com.evil.example/T0KEN", ""},
		"another port": {"  - {name: r, reply: {to: '{form:response_url}', hosts: [hooks.example.com], body: x}}\n", "https://hooks.example.com:8443/T0KEN", ""},
		"user":         {"  - {name: r, reply: {to: '{form:response_url}', hosts: [hooks.example.com], body: x}}\n", "https://hooks.example.com@evil.example/T0KEN", ""},
		"scheme":       {"  - {name: r, reply: {to: '{form:response_url}', hosts: [hooks.example.com], body: x}}\n", "file://hooks.example.com/T0KEN", ""},
		"no URL":       {"  - {name: r, reply: {to: '{form:response_url}', hosts: [hooks.example.com], body: x}}\n", "T0KEN", ""},
		"missing":      {"  - {name: r, reply: {to: '{form:response_url}', hosts: [hooks.example.com], body: x}}\n", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := testbroker.New(t)
			start(t, worker.Config{Broker: b}, chain(t, b, test.handlers))
			publishEvent(t, b, slash(test.to))
			if test.want == "" {
				waitFor(t, func() bool { return len(records(t, b, "slash", 0)) == 1 })
				letter, err := b.Last(t.Context(), stream.Dead, stream.DeadEvents("slash"))
				if err != nil {
					t.Fatal(err)
				}
				if failures := letter.Header["belay-failures"][0]; strings.Contains(failures, "T0KEN") && name != "no URL" {
					t.Errorf("the URL stands in %s", failures)
				}
				return
			}
			waitFor(t, func() bool { _, err := b.Last(t.Context(), stream.Notify, "belay.notify.>"); return err == nil })
			m, err := b.Last(t.Context(), stream.Notify, stream.NotifySubject("default"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := event.Decode(m.Header, m.Data)
			if err != nil || got.To != test.to || string(got.Body) != test.want || got.Source != "/github/default" {
				t.Errorf("stored %+v, %v", got, err)
			}
		})
	}
}

func TestReplyInCode(t *testing.T) {
	b := testbroker.New(t)
	tell, err := worker.Reply(worker.ReplyConfig{To: "{form:response_url}", Hosts: []string{"hooks.example.com"}, Value: "said"})
	if err != nil {
		t.Fatal(err)
	}
	var c calls
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "code", Steps: []handler.Step{
		c.step(1, "work", func(e *event.Event) (*handler.Response, error) {
			return nil, e.Values.Set("said", map[string]string{"text": "done"})
		}),
		{Order: 2, Name: "tell", Handler: tell},
	}})
	publishEvent(t, b, slash("https://hooks.example.com/x"))
	waitFor(t, func() bool { _, err := b.Last(t.Context(), stream.Notify, "belay.notify.>"); return err == nil })
	for _, wrong := range []worker.ReplyConfig{{To: "x", Body: "b"}, {To: "x", Hosts: []string{"a"}}, {To: "{url}", Hosts: []string{"a"}, Body: "b"}} {
		if _, err := worker.Reply(wrong); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
}
