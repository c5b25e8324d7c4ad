package ingress_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/ingress"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/receiver"
)

// What is over the rate is refused with the time to wait. What is not genuine
// does not count: nobody uses up the rate of an honest sender.
func TestRateLimit(t *testing.T) {
	limited := func(r receiver.Rate) *receiver.Source {
		return source(t, receiver.SourceConfig{Receiver: "github", Rate: r})
	}
	slow := limited(receiver.Rate{PerSecond: 0.001, Burst: 2})
	other := source(t, receiver.SourceConfig{Receiver: "stripe"})
	d := newDoor(t, slow, other)
	send := func() (int, string) {
		resp, _ := d.send(d.request(slow, "/webhooks/github", issueOpened, nil))
		return resp.StatusCode, resp.Header.Get("Retry-After")
	}
	forge := func() int {
		r := d.request(slow, "/webhooks/github", issueOpened, nil)
		r.Header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
		resp, _ := d.send(r)
		return resp.StatusCode
	}
	for range 5 {
		if got := forge(); got != http.StatusUnauthorized {
			t.Fatalf("forged: status %d", got)
		}
	}
	for range 2 {
		if got, _ := send(); got != http.StatusAccepted {
			t.Fatalf("within the burst: status %d", got)
		}
	}
	if got, retry := send(); got != http.StatusTooManyRequests || retry != "1000" && retry != "999" {
		t.Errorf("over it: status %d, Retry-After %q", got, retry)
	}
	if got := forge(); got != http.StatusTooManyRequests {
		t.Errorf("forged, over it: status %d, want 429 before the body is read", got)
	}
	if n := d.count("github/default", "rate_limited"); n != 2 {
		t.Errorf("%v counted, want 2", n)
	}
	if resp, _ := d.send(d.request(other, "/webhooks/stripe", `{"id":"evt_1"}`, nil)); resp.StatusCode != http.StatusAccepted {
		t.Errorf("another source: status %d", resp.StatusCode)
	}
	if n := d.storedCount(); n != 3 {
		t.Errorf("%d stored, want 3", n)
	}

	reload := func(s *receiver.Source) {
		if err := d.server.Reload([]*receiver.Source{s}); err != nil {
			t.Fatal(err)
		}
	}
	reload(limited(receiver.Rate{PerSecond: 0.001, Burst: 2}))
	if got, _ := send(); got != http.StatusTooManyRequests {
		t.Errorf("after a reload that changes nothing: status %d", got)
	}
	reload(limited(receiver.Rate{PerSecond: 20, Burst: 2}))
	eventually(t, "a greater rate holds", func() bool { got, _ := send(); return got == http.StatusAccepted })
	reload(limited(receiver.Rate{}))
	for range 10 {
		if got, _ := send(); got != http.StatusAccepted {
			t.Fatalf("without a rate: status %d", got)
		}
	}
}

func TestHeaderLimit(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github", MaxHeader: 1000})
	d := newDoor(t, github)
	for name, test := range map[string]struct {
		header string
		status int
	}{
		"within": {strings.Repeat("x", 200), 202},
		"over":   {strings.Repeat("x", 1000), 431},
	} {
		t.Run(name, func(t *testing.T) {
			resp, _ := d.send(d.request(github, "/webhooks/github", issueOpened, map[string]string{"X-Long": test.header}))
			if resp.StatusCode != test.status {
				t.Errorf("status %d, want %d", resp.StatusCode, test.status)
			}
		})
	}
	if n := d.count("github/default", "headers_too_large"); n != 1 {
		t.Errorf("%v counted, want 1", n)
	}
}

// Whether a sender spoke TLS, and who it is, a trusted proxy knows, and nobody else.
func TestRequireHTTPSBehindProxies(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github", RequireHTTPS: new(true)})
	broker := testbroker.New(t)
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	for name, test := range map[string]struct {
		trusted []netip.Prefix
		proto   string
		status  int
		client  string
	}{
		"in the clear":            {local, "", 403, "127.0.0.1"},
		"through a proxy":         {local, "https", 202, "192.0.2.7"},
		"in the clear, to it":     {local, "http", 403, "192.0.2.7"},
		"through somebody":        {nil, "https", 403, "127.0.0.1"},
		"through somebody else's": {local[1:], "https", 403, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, ingress.Config{TrustedProxies: test.trusted}, broker, github)
			header := map[string]string{}
			if test.proto != "" {
				header = map[string]string{"X-Forwarded-For": "203.0.113.9, 192.0.2.7, 10.0.0.2", "X-Forwarded-Proto": test.proto}
			}
			resp, _ := d.send(d.request(github, "/webhooks/github", issueOpened, header))
			if resp.StatusCode != test.status {
				t.Errorf("status %d, want %d", resp.StatusCode, test.status)
			}
			if n := d.count("github/default", "not_https"); (n == 1) != (test.status == 403) {
				t.Errorf("%v counted as not_https", n)
			}
			eventually(t, "the line is logged", func() bool { return d.log.String() != "" })
			var line struct{ Client string }
			if err := json.Unmarshal([]byte(d.log.String()), &line); err != nil || line.Client != test.client {
				t.Errorf("client %q, want %q; %v", line.Client, test.client, err)
			}
		})
	}
}

// A sender that signs the URL signs the one that it called, which only we know
// to be ours.
func TestSignedURLBehindProxies(t *testing.T) {
	s := source(t, receiver.SourceConfig{Receiver: "generic", Params: map[string]string{"content": "{url} {body}"}})
	broker := testbroker.New(t)
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	const called = "https://hooks.example.com/webhooks/generic?a=b"
	proxied := http.Header{"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"hooks.example.com"}}
	for name, test := range map[string]struct {
		config ingress.Config
		header http.Header
		status int
	}{
		"configured":                {ingress.Config{PublicURL: "https://hooks.example.com/"}, nil, 202},
		"as a trusted proxy says":   {ingress.Config{TrustedProxies: local}, proxied, 202},
		"as somebody says":          {ingress.Config{}, proxied, 401},
		"as this server is called":  {ingress.Config{}, nil, 401},
		"configured to be another":  {ingress.Config{PublicURL: "https://example.com", TrustedProxies: local}, proxied, 401},
		"configured with more path": {ingress.Config{PublicURL: "https://hooks.example.com/x"}, nil, 401},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, test.config, broker, s)
			signed, err := http.NewRequest(http.MethodPost, called, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Sign(signed, []byte(`{"type":"a"}`), time.Now()); err != nil {
				t.Fatal(err)
			}
			r := d.request(s, "/webhooks/generic?a=b", `{"type":"a"}`, nil)
			r.Header.Set("X-Signature", signed.Header.Get("X-Signature"))
			for name, values := range test.header {
				r.Header[name] = values
			}
			if resp, _ := d.send(r); resp.StatusCode != test.status {
				t.Errorf("status %d, want %d", resp.StatusCode, test.status)
			}
		})
	}
	d := open(t, ingress.Config{}, broker, s)
	if resp, _ := d.send(d.request(s, "/webhooks/generic?a=b", `{"type":"a"}`, nil)); resp.StatusCode != http.StatusAccepted {
		t.Errorf("called by its own address: status %d", resp.StatusCode)
	}
}

// A source that is switched off is answered 410 from the next request on, until it
// is resumed; the others are not.
func TestSwitchedOff(t *testing.T) {
	github, eu := source(t, receiver.SourceConfig{Receiver: "github"}), source(t, receiver.SourceConfig{Receiver: "github", ID: "eu"})
	b := testbroker.New(t)
	off := standing.NewSwitches(standing.Off)
	ctx, cancel := context.WithCancel(t.Context())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		off.Follow(ctx, b, testbroker.Logger(t))
	}()
	defer func() { cancel(); <-followed }()
	d := open(t, ingress.Config{Off: off}, b, github, eu)
	status := func(path string, s *receiver.Source) int {
		t.Helper()
		resp, _ := d.send(d.request(s, path, issueOpened, map[string]string{"X-GitHub-Event": "issues"}))
		return resp.StatusCode
	}
	until := func(on bool) {
		t.Helper()
		began := time.Now()
		for {
			_, is, known, changed := off.Look("github/default")
			if known && is == on {
				t.Logf("known after %v", time.Since(began))
				return
			}
			<-changed
		}
	}
	until(false)
	if got := status("/webhooks/github", github); got != http.StatusAccepted {
		t.Errorf("before: %d", got)
	}
	if set, err := standing.Off.Set(t.Context(), b, "github/default", standing.Switch{By: "ann"}); err != nil || !set {
		t.Fatal(set, err)
	}
	until(true)
	if set, err := standing.Off.Set(t.Context(), b, "github/default", standing.Switch{By: "bob"}); err != nil || set {
		t.Errorf("switched off twice: %v %v", set, err)
	}
	if got := status("/webhooks/github/default", github); got != http.StatusGone {
		t.Errorf("switched off: %d", got)
	}
	if got := status("/webhooks/github/eu", eu); got != http.StatusAccepted {
		t.Errorf("another source: %d", got)
	}
	if err := standing.Off.Unset(t.Context(), b, "github/default"); err != nil {
		t.Fatal(err)
	}
	until(false)
	if got := status("/webhooks/github", github); got != http.StatusAccepted {
		t.Errorf("resumed: %d", got)
	}
}
