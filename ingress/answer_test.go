package ingress_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/ingress"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
)

// command is a source whose chain slash answers.
func command(t *testing.T) *receiver.Source {
	t.Helper()
	return source(t, receiver.SourceConfig{
		Receiver: "github", Timeout: time.Second, Wait: receiver.Wait{Chain: "slash", Events: []string{"issues.*"}},
	})
}

// answers runs a chain's end of the broker: f is called with each stored event.
func answers(t *testing.T, b *stream.Broker, f func(h *stream.Held)) {
	t.Helper()
	c, err := b.EnsureConsumer(t.Context(), stream.ConsumerConfig{Stream: stream.In(0), Name: "chain-slash", Filters: []string{"belay.in.>"}})
	if err != nil {
		t.Fatal(err)
	}
	fetch, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Run(fetch, fetch, stream.RunConfig{Pull: 4, Slots: stream.NewSlots(4), Handle: func(ctx context.Context, h *stream.Held) {
			f(h)
			if err := h.Settle(ctx, stream.Ack); err != nil {
				t.Error(err)
			}
		}})
	}()
	t.Cleanup(func() { stop(); <-ended })
}

// reply is a chain that always says the same.
func reply(t *testing.T, b *stream.Broker, a stream.Answer) {
	t.Helper()
	answers(t, b, func(h *stream.Held) {
		if err := b.Answer(h, "slash", a); err != nil && len(a.Body) <= stream.MaxAnswer {
			t.Error(err)
		}
	})
}

func TestChainAnswersTheSender(t *testing.T) {
	for name, test := range map[string]struct {
		answer   stream.Answer
		event    string
		status   int
		body     string
		header   map[string]string
		counted  string
		atLeast  time.Duration
		noWorker bool
	}{
		"response": {
			answer: stream.Answer{Status: 200, Body: []byte(`{"text":"hi"}`), Header: map[string][]string{
				"content-type": {"application/json"}, "X-Mine": {"1"}, "Belay-Event-Id": {"forged"}, "Connection": {"close"}, "Content-Length": {"3"},
			}},
			status: 200, body: `{"text":"hi"}`, counted: "response",
			header: map[string]string{"Content-Type": "application/json", "X-Mine": "1", "Belay-Event-Id": "d-1", "Connection": ""},
		},
		"text without a type": {
			answer: stream.Answer{Status: 201, Body: []byte("<b>hi</b>")}, status: 201, body: "<b>hi</b>", counted: "response",
			header: map[string]string{"Content-Type": "text/plain; charset=utf-8"},
		},
		"no body":             {answer: stream.Answer{Status: 204}, status: 204, counted: "response"},
		"no success":          {answer: stream.Answer{Status: 422}, status: 422, counted: "response"},
		"nothing to say":      {answer: stream.Answer{}, status: 202, counted: "nothing"},
		"too large":           {answer: stream.Answer{Status: 200, Body: make([]byte, stream.MaxAnswer+1)}, status: 202, counted: "nothing"},
		"no HTTP status":      {answer: stream.Answer{Status: 99}, status: 202, counted: "invalid"},
		"no final status":     {answer: stream.Answer{Status: 103}, status: 202, counted: "invalid"},
		"nobody answers":      {noWorker: true, status: 202, counted: "too_late", atLeast: 800 * time.Millisecond},
		"not this chain's":    {noWorker: true, event: "push", status: 202},
		"header from outside": {answer: stream.Answer{Status: 200, Header: map[string][]string{"X-Mine": {"a\r\nX-Other: b"}}}, status: 200, counted: "response", header: map[string]string{"X-Other": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := command(t)
			d := newDoor(t, s)
			if !test.noWorker {
				reply(t, d.broker, test.answer)
			}
			if test.event == "" {
				test.event = "issues"
			}
			began := time.Now()
			resp, body := d.send(d.request(s, "/webhooks/github", issueOpened, map[string]string{"X-GitHub-Event": test.event, "X-GitHub-Delivery": "d-1"}))
			took := time.Since(began)
			if resp.StatusCode != test.status || body != test.body || d.storedCount() != 1 {
				t.Errorf("status %d, body %q, %d stored", resp.StatusCode, body, d.storedCount())
			}
			for name, want := range test.header {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("header %s is %q, want %q", name, got, want)
				}
			}
			if took < test.atLeast || took > test.atLeast+700*time.Millisecond {
				t.Errorf("answered after %v", took)
			}
			if test.counted != "" && d.answers(test.counted) != 1 {
				t.Errorf("not counted as %s", test.counted)
			}
		})
	}
}

// answers counts what senders got.
func (d *door) answers(what string) float64 {
	d.tb.Helper()
	return d.counter("belay_ingress_answers_total", "github/default", "answer", what)
}

func TestLateAnswerIsDropped(t *testing.T) {
	s := command(t)
	d := newDoor(t, s)
	held := make(chan *stream.Held, 2)
	answers(t, d.broker, func(h *stream.Held) { held <- h })
	header := map[string]string{"X-GitHub-Event": "issues", "X-GitHub-Delivery": "late"}
	if resp, _ := d.send(d.request(s, "/webhooks/github", issueOpened, header)); resp.StatusCode != http.StatusAccepted {
		t.Errorf("status %d", resp.StatusCode)
	}
	late := <-held
	go func() {
		second := <-held
		for _, h := range []*stream.Held{late, second} {
			if err := d.broker.Answer(h, "slash", stream.Answer{Status: 200, Body: []byte(h.Header["ce-id"][0])}); err != nil {
				t.Error(err)
			}
		}
	}()
	header["X-GitHub-Delivery"] = "next"
	if _, body := d.send(d.request(s, "/webhooks/github", issueOpened, header)); body != "next" {
		t.Errorf("the next sender got %q", body)
	}
}

// The resend of a webhook that is being handled, or was, gets the plain answer
// at once; it is not handled again.
func TestDuplicateGetsThePlainAnswer(t *testing.T) {
	s := command(t)
	d := newDoor(t, s)
	held := make(chan *stream.Held, 2)
	answers(t, d.broker, func(h *stream.Held) { held <- h })
	send := func() (*http.Response, string) {
		return d.send(d.request(s, "/webhooks/github", issueOpened, map[string]string{"X-GitHub-Event": "issues", "X-GitHub-Delivery": "d-1"}))
	}
	first := make(chan string, 1)
	go func() {
		_, body := send()
		first <- body
	}()
	h := <-held
	resend := func() {
		t.Helper()
		if resp, body := send(); resp.StatusCode != 202 || body != "" || resp.Header.Get("Belay-Duplicate") != "true" {
			t.Errorf("status %d, body %q, header %v", resp.StatusCode, body, resp.Header)
		}
	}
	resend()
	if err := d.broker.Answer(h, "slash", stream.Answer{Status: 200, Body: []byte("hi")}); err != nil {
		t.Fatal(err)
	}
	if body := <-first; body != "hi" {
		t.Errorf("the first sender got %q", body)
	}
	resend()
	if d.answers("duplicate") != 2 || len(held) != 0 {
		t.Errorf("%v duplicates, %d more events", d.answers("duplicate"), len(held))
	}
}

// A sender that hangs up ends the wait, and its webhook is stored.
func TestSenderHangsUp(t *testing.T) {
	s := source(t, receiver.SourceConfig{Receiver: "github", Timeout: 15 * time.Second, Wait: receiver.Wait{Chain: "slash"}})
	d := newDoor(t, s)
	ctx, hangUp := context.WithCancel(t.Context())
	answers(t, d.broker, func(*stream.Held) { hangUp() })
	r := d.request(s, "/webhooks/github", issueOpened, nil).WithContext(ctx)
	if resp, err := d.client.Do(r); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		t.Errorf("answered %d", resp.StatusCode)
	}
	eventually(t, "the wait has ended", func() bool { return d.answers("hung_up") == 1 && d.inFlight() == 0 })
}

// Requests that wait leave room for those that do not, and the next one that
// would wait gets the plain answer.
func TestWaitingIsBounded(t *testing.T) {
	s := command(t)
	plain := source(t, receiver.SourceConfig{Receiver: "github", ID: "plain"})
	d := open(t, ingress.Config{MaxRequests: 8}, testbroker.New(t), s, plain)
	done := make(chan int, 2)
	header := map[string]string{"X-GitHub-Event": "issues"}
	for range 2 {
		r := d.request(s, "/webhooks/github", issueOpened, header)
		go func() {
			resp, _ := d.send(r)
			done <- resp.StatusCode
		}()
	}
	eventually(t, "both wait", func() bool { return d.storedCount() == 2 })
	began := time.Now()
	for _, test := range []struct {
		source *receiver.Source
		path   string
	}{{s, "/webhooks/github"}, {plain, "/webhooks/github/plain"}} {
		if resp, _ := d.send(d.request(test.source, test.path, issueOpened, header)); resp.StatusCode != 202 {
			t.Errorf("%s: status %d", test.path, resp.StatusCode)
		}
	}
	if took := time.Since(began); took > 500*time.Millisecond || d.answers("too_many") != 1 {
		t.Errorf("answered after %v; %v counted", took, d.answers("too_many"))
	}
	for range 2 {
		if status := <-done; status != 202 {
			t.Errorf("status %d", status)
		}
	}
	if log := d.log.String(); !strings.Contains(log, `"answer":"too_late"`) {
		t.Errorf("log: %s", log)
	}
}
