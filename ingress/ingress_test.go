package ingress_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/belay-hooks/belay/ingress"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
)

const issueOpened = `{"action":"opened","repository":{"full_name":"octo/hello"}}`

func TestStored(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	d := newDoor(t, github)
	r := d.request(github, "/webhooks/github", issueOpened, map[string]string{"X-GitHub-Event": "issues", "X-GitHub-Delivery": "d-1"})
	resp, body := d.send(r)
	if resp.StatusCode != http.StatusAccepted || body != "" || resp.Header.Get("Belay-Event-Id") != "d-1" || resp.Header.Get("Belay-Duplicate") != "" {
		t.Errorf("status %d, body %q, header %v", resp.StatusCode, body, resp.Header)
	}
	e, subject := d.storedEvent(1)
	if e.ID != "d-1" || e.Type != "github.issues.opened" || e.Key != "octo/hello" || string(e.Body) != issueOpened || e.Header.Get("X-GitHub-Event") != "issues" {
		t.Errorf("stored %+v", e)
	}
	if subject != e.Subject() {
		t.Errorf("stored under %s, want %s", subject, e.Subject())
	}
}

func TestLargeBody(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	d := newDoor(t, github)
	body := `{"action":"opened","text":"` + strings.Repeat("x", 3<<20) + `"}`
	header := map[string]string{"X-GitHub-Event": "issues", "X-GitHub-Delivery": "large"}
	for i, duplicate := range []string{"", "true"} {
		r := d.request(github, "/webhooks/github", body, header)
		if i == 1 {
			chunked(r)
		}
		resp, _ := d.send(r)
		if resp.StatusCode != http.StatusAccepted || resp.Header.Get("Belay-Duplicate") != duplicate {
			t.Errorf("request %d: status %d, header %v", i, resp.StatusCode, resp.Header)
		}
	}
	m, err := d.broker.Last(t.Context(), stream.In(0), "belay.in.>")
	if err != nil {
		t.Fatal(err)
	}
	e, err := d.broker.ReadEvent(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if e.Type != "github.issues.opened" || string(e.Body) != body {
		t.Errorf("stored %s with %d bytes", e.Type, len(e.Body))
	}
}

func TestDuplicate(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	other := source(t, receiver.SourceConfig{Receiver: "github", ID: "eu"})
	d := newDoor(t, github, other)
	for i, want := range []struct{ path, duplicate string }{
		{"/webhooks/github", ""}, {"/webhooks/github/default", "true"}, {"/webhooks/github", "true"}, {"/webhooks/github/eu", ""},
	} {
		resp, _ := d.send(d.request(github, want.path, issueOpened, map[string]string{"X-GitHub-Delivery": "d-1"}))
		if resp.StatusCode != http.StatusAccepted || resp.Header.Get("Belay-Event-Id") != "d-1" || resp.Header.Get("Belay-Duplicate") != want.duplicate {
			t.Errorf("request %d: status %d, header %v", i, resp.StatusCode, resp.Header)
		}
	}
	if n := d.storedCount(); n != 2 {
		t.Errorf("%d events stored, want one of each source", n)
	}
	if n := d.count("github/default", "duplicate"); n != 2 {
		t.Errorf("%v duplicates counted, want 2", n)
	}
}

func TestPingIsNotStored(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	d := newDoor(t, github)
	resp, _ := d.send(d.request(github, "/webhooks/github", `{"zen":"x"}`, map[string]string{"X-GitHub-Event": "ping"}))
	if resp.StatusCode != http.StatusAccepted || resp.Header.Get("Belay-Event-Id") != "" || d.storedCount() != 0 {
		t.Errorf("status %d, header %v, %d stored", resp.StatusCode, resp.Header, d.storedCount())
	}
}

// Notion sends its token to the URL only: while it is set up, the log tells it.
func TestHandshakeTellsTheOperator(t *testing.T) {
	for _, told := range []bool{true, false} {
		config := receiver.SourceConfig{Receiver: "notion"}
		if told {
			config.Params = map[string]string{"setup": "open"}
		}
		notion := source(t, config)
		d := newDoor(t, notion)
		r := d.request(notion, "/webhooks/notion", `{"verification_token":"secret_of_notion"}`, nil)
		r.Header.Set("X-Notion-Signature", "sha256="+strings.Repeat("0", 64))
		resp, _ := d.send(r)
		if (resp.StatusCode == http.StatusOK) != told || strings.Contains(d.log.String(), "secret_of_notion") != told || d.storedCount() != 0 {
			t.Errorf("told: want %v; status %d, log %s", told, resp.StatusCode, d.log.String())
		}
	}
}

// What a stranger has answered back is never a page for a browser.
func TestEchoIsNoPage(t *testing.T) {
	dropbox := source(t, receiver.SourceConfig{Receiver: "dropbox"})
	d := newDoor(t, dropbox)
	r := d.request(dropbox, "/webhooks/dropbox?challenge=%3Cscript%3E", "", nil)
	r.Method, r.Header = http.MethodGet, http.Header{}
	resp, body := d.send(r)
	if body != "<script>" || resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%q, %v", body, resp.Header)
	}
}

func TestAliasAndPrefix(t *testing.T) {
	s := source(t, receiver.SourceConfig{Receiver: "standard-webhooks"})
	d := open(t, ingress.Config{Prefix: "/"}, testbroker.New(t), s)
	for _, path := range []string{"/standard-webhooks", "/standardwebhooks", "/standardwebhooks/default"} {
		if resp, _ := d.send(d.request(s, path, `{"type":"a"}`, nil)); resp.StatusCode != http.StatusAccepted {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
}

// The rows of the table in which the sender is at fault: a status, a body that
// tells a forger nothing, a log line and a count with the reason, nothing stored.
func TestRefused(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github", MaxBody: 1000})
	big := source(t, receiver.SourceConfig{Receiver: "github", ID: "big"})
	stripe := source(t, receiver.SourceConfig{Receiver: "stripe"})
	locked := source(t, receiver.SourceConfig{Receiver: "github", ID: "locked", Secrets: []receiver.Secret{lost{}}})
	d := newDoor(t, github, big, stripe, locked)
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for name, test := range map[string]struct {
		path, body string
		header     map[string]string
		change     func(r *http.Request)
		status     int
		source     string
		outcome    string
	}{
		"unknown receiver": {path: "/webhooks/nobody", status: 404, outcome: "unknown_source"},
		"unknown source":   {path: "/webhooks/github/us", status: 404, outcome: "unknown_source"},
		"receiver unused":  {path: "/webhooks/generic", status: 404, outcome: "unknown_source"},
		"outside":          {path: "/", status: 404, outcome: "unknown_source"},
		"double slash":     {path: "//webhooks/github", status: 404, outcome: "unknown_source"},
		"final slash":      {path: "/webhooks/github/", status: 404, outcome: "unknown_source"},
		"GET":              {change: func(r *http.Request) { r.Method = "GET" }, status: 405, outcome: "wrong_method"},
		"PUT":              {change: func(r *http.Request) { r.Method = "PUT" }, status: 405, outcome: "wrong_method"},
		"text":             {header: map[string]string{"Content-Type": "text/plain"}, status: 415, outcome: "wrong_type"},
		"no type":          {change: func(r *http.Request) { r.Header.Del("Content-Type") }, status: 415, outcome: "wrong_type"},
		"form to stripe":   {path: "/webhooks/stripe", header: form, status: 415, source: "stripe/default", outcome: "wrong_type"},
		"over the limit":   {body: `"` + strings.Repeat("x", 999) + `"`, status: 413, outcome: "too_large"},
		"over, chunked":    {body: `"` + strings.Repeat("x", 999) + `"`, change: chunked, status: 413, outcome: "too_large"},
		"over GitHub's":    {path: "/webhooks/github/big", body: `"` + strings.Repeat("x", 25<<20) + `"`, status: 413, source: "github/big", outcome: "too_large"},
		"theirs, chunked":  {path: "/webhooks/github/big", body: `"` + strings.Repeat("x", 25<<20) + `"`, change: chunked, status: 413, source: "github/big", outcome: "too_large"},
		"no signature":     {change: func(r *http.Request) { r.Header.Del("X-Hub-Signature-256") }, status: 401, outcome: "signature_missing"},
		"wrong signature":  {change: func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64)) }, status: 401, outcome: "signature_wrong"},
		"stale":            {path: "/webhooks/stripe", change: signedAt(stripe, -time.Hour), status: 401, source: "stripe/default", outcome: "timestamp_stale"},
		"future":           {path: "/webhooks/stripe", change: signedAt(stripe, time.Hour), status: 401, source: "stripe/default", outcome: "timestamp_future"},
		"signed, no JSON":  {body: `{"action":`, status: 400, outcome: "unreadable"},
		"signed, empty":    {body: ``, status: 400, outcome: "unreadable"},
		"no secret":        {path: "/webhooks/github/locked", status: 503, source: "github/locked", outcome: "secret_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.path == "" {
				test.path = "/webhooks/github"
			}
			if test.body == "" && name != "signed, empty" {
				test.body = issueOpened
			}
			if test.source == "" && test.status != 404 {
				test.source = "github/default"
			}
			before := d.count(test.source, test.outcome)
			r := d.request(github, test.path+"?token=shown-nowhere", test.body, test.header)
			if test.change != nil {
				test.change(r)
			}
			resp, body := d.send(r)
			if resp.StatusCode != test.status || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("status %d, want %d; header %v; body %s", resp.StatusCode, test.status, resp.Header, body)
			}
			if r.Method != http.MethodGet && !strings.Contains(body, fmt.Sprintf(`"status":%d`, test.status)) ||
				strings.Contains(body, test.outcome) || strings.Contains(body, "signature") || strings.Contains(body, "timestamp") {
				t.Errorf("body %s", body)
			}
			if allow := resp.Header.Get("Allow"); (allow == "POST") != (test.status == 405) {
				t.Errorf("Allow: %s", allow)
			}
			if retry := resp.Header.Get("Retry-After"); (retry != "") != (test.status == 503) {
				t.Errorf("Retry-After: %s", retry)
			}
			if n := d.count(test.source, test.outcome) - before; n != 1 {
				t.Errorf("%v of %s counted, want 1", n, test.outcome)
			}
			if !strings.Contains(d.log.String(), `"outcome":"`+test.outcome+`"`) {
				t.Errorf("the log does not tell %s", test.outcome)
			}
		})
	}
	if n := d.storedCount(); n != 0 {
		t.Errorf("%d events stored, want none", n)
	}
	for _, private := range []string{theSecret, theSecret[6:], "sha256=", "shown-nowhere", "octo/hello"} {
		if strings.Contains(d.log.String(), private) {
			t.Errorf("the log shows %q", private)
		}
	}
}

func chunked(r *http.Request) {
	body := r.Body
	r.Body, r.ContentLength, r.GetBody = struct{ io.ReadCloser }{body}, -1, nil
}

func signedAt(s *receiver.Source, from time.Duration) func(*http.Request) {
	return func(r *http.Request) {
		if _, err := s.Sign(r, []byte(issueOpened), time.Now().Add(from)); err != nil {
			panic(err)
		}
	}
}

func TestChunkedBodyIsStored(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	d := newDoor(t, github)
	// To the byte at the limit: one more is refused above.
	body := `"` + strings.Repeat("x", 512<<10-2) + `"`
	r := d.request(github, "/webhooks/github", body, nil)
	chunked(r)
	if resp, problem := d.send(r); resp.StatusCode != http.StatusAccepted {
		t.Fatalf("status %d: %s", resp.StatusCode, problem)
	}
	if e, _ := d.storedEvent(1); string(e.Body) != body {
		t.Errorf("%d bytes stored, want %d", len(e.Body), len(body))
	}
}

// What no HTTP client sends: bodies that stop, or come to nothing.
func TestBrokenBodies(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	d := open(t, ingress.Config{BodyTimeout: 200 * time.Millisecond}, testbroker.New(t), github)
	const head = "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	for name, test := range map[string]struct {
		send    string
		hangUp  bool
		status  int
		outcome string
	}{
		"truncated":          {head + "Content-Length: 100\r\n\r\n{", true, 400, "truncated"},
		"truncated, chunked": {head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{", true, 400, "truncated"},
		"broken chunk":       {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", false, 400, "truncated"},
		"slow":               {head + "Content-Length: 100\r\n\r\n{", false, 408, "too_slow"},
		"slow, to nowhere":   {strings.Replace(head, "github", "nobody", 1) + "Content-Length: 100\r\n\r\n{", false, 404, "unknown_source"},
		"slow, chunked":      {head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{", false, 408, "too_slow"},
	} {
		t.Run(name, func(t *testing.T) {
			source := "github/default"
			if test.status == 404 {
				source = ""
			}
			before := d.count(source, test.outcome)
			conn, err := net.Dial("tcp", d.server.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, test.send); err != nil {
				t.Fatal(err)
			}
			if test.hangUp {
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			in := bufio.NewReader(conn)
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != test.status || !resp.Close {
				t.Errorf("status %d, want %d; header %v", resp.StatusCode, test.status, resp.Header)
			}
			if _, err := io.Copy(io.Discard, in); err != nil { // the server closes
				t.Error(err)
			}
			if n := d.count(source, test.outcome) - before; n != 1 {
				t.Errorf("%v of %s counted, want 1", n, test.outcome)
			}
		})
	}
	if n := d.storedCount(); n != 0 {
		t.Errorf("%d events stored, want none", n)
	}
}

func TestReload(t *testing.T) {
	github := source(t, receiver.SourceConfig{Receiver: "github"})
	stripe := source(t, receiver.SourceConfig{Receiver: "stripe"})
	d := newDoor(t, github)
	status := func(s *receiver.Source, path string) int {
		resp, _ := d.send(d.request(s, path, `{"id":"evt_1"}`, nil))
		return resp.StatusCode
	}
	if err := d.server.Reload([]*receiver.Source{stripe, stripe}); err == nil || !strings.Contains(err.Error(), "stripe/default") {
		t.Errorf("two sources of one name: %v", err)
	}
	if got := status(github, "/webhooks/github"); got != 202 {
		t.Errorf("after a bad reload: status %d", got)
	}
	if err := d.server.Reload([]*receiver.Source{stripe}); err != nil {
		t.Fatal(err)
	}
	if a, b := status(github, "/webhooks/github"), status(stripe, "/webhooks/stripe"); a != 404 || b != 202 {
		t.Errorf("after the reload: %d and %d, want 404 and 202", a, b)
	}
}

func TestNewErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	used := prometheus.NewRegistry()
	if s, err := newServer(ingress.Config{Addr: "127.0.0.1:0"}, used); err != nil || s.Close() != nil || s.Close() != nil {
		t.Fatal("a server that is closed twice and never run:", err)
	}
	for name, test := range map[string]struct {
		config   ingress.Config
		registry *prometheus.Registry
		want     string
	}{
		"no address":          {ingress.Config{}, nil, "addr is empty"},
		"relative prefix":     {ingress.Config{Addr: ":0", Prefix: "hooks"}, nil, "begins with a slash"},
		"prefix of variables": {ingress.Config{Addr: ":0", Prefix: "/{x}"}, nil, "plain path"},
		"negative time-out":   {ingress.Config{Addr: ":0", BodyTimeout: -1}, nil, "above zero"},
		"no room":             {ingress.Config{Addr: ":0", MaxBytes: 1000}, nil, "at least 4194304"},
		"room below nothing":  {ingress.Config{Addr: ":0", MaxBytes: -1}, nil, "at least 4194304"},
		"negative requests":   {ingress.Config{Addr: ":0", MaxRequests: -1}, nil, "at least 1"},
		"URL without scheme":  {ingress.Config{Addr: ":0", PublicURL: "hooks.example.com"}, nil, "such as https://"},
		"URL with a user":     {ingress.Config{Addr: ":0", PublicURL: "https://me@hooks.example.com"}, nil, "without user"},
		"URL with a query":    {ingress.Config{Addr: ":0", PublicURL: "https://hooks.example.com?a=b"}, nil, "without user"},
		"address taken":       {ingress.Config{Addr: taken.Addr().String()}, nil, "in use"},
		"metrics taken":       {ingress.Config{Addr: ":0"}, used, "metrics"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.registry == nil {
				test.registry = prometheus.NewRegistry()
			}
			if _, err := newServer(test.config, test.registry); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func newServer(c ingress.Config, registry *prometheus.Registry) (*ingress.Server, error) {
	var nobody *stream.Broker // nothing is published
	return ingress.New(c, nil, nobody, slog.New(slog.DiscardHandler), registry)
}

// Headers of answers, and the answers to refusals that a provider knows.
func TestAnswersOfReceivers(t *testing.T) {
	inside := new(false) // both send their secrets as they are, which takes HTTPS elsewhere
	salesforce := source(t, receiver.SourceConfig{Receiver: "salesforce", Secrets: []receiver.Secret{secret("00D000000000062")}, RequireHTTPS: inside})
	d := newDoor(t, source(t, receiver.SourceConfig{Receiver: "azure-event-grid", RequireHTTPS: inside}), salesforce)
	options, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, d.url+"/webhooks/azure-event-grid", nil)
	if err != nil {
		t.Fatal(err)
	}
	options.Header.Set("WebHook-Request-Origin", "eventgrid.azure.net")
	if resp, _ := d.send(options); resp.StatusCode != 200 || resp.Header.Get("WebHook-Allowed-Origin") != "eventgrid.azure.net" || resp.Header.Get("WebHook-Allowed-Rate") != "*" {
		t.Errorf("status %d, header %v", resp.StatusCode, resp.Header)
	}
	for organisation, want := range map[string]struct {
		status int
		body   string
	}{"00D000000000062EAA": {200, "<Ack>true</Ack>"}, "00D000000000063EAA": {400, "<faultcode>soapenv:Client</faultcode>"}} {
		body := "<a:Envelope xmlns:a='x'><a:Body><notifications><OrganizationId>" + organisation + "</OrganizationId></notifications></a:Body></a:Envelope>"
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url+"/webhooks/salesforce", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "text/xml")
		resp, got := d.send(r)
		if resp.StatusCode != want.status || resp.Header.Get("Content-Type") != "text/xml; charset=utf-8" || !strings.Contains(got, want.body) {
			t.Errorf("%s: status %d, header %v: %s", organisation, resp.StatusCode, resp.Header, got)
		}
	}
	if d.storedCount() != 1 {
		t.Errorf("%d are stored, want one", d.storedCount())
	}
}
