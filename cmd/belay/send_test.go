package main

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/receiver"
)

// genuine is a server that takes what the sources of the demo configuration take.
func genuine(t *testing.T, got func(*receiver.Received)) *httptest.Server {
	t.Helper()
	f, err := demoFile(demoYAML, config.Options{Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	all, err := sources.Build(f)
	if err != nil {
		t.Fatal(err)
	}
	var one sync.Mutex // got is called for one request at a time
	mux := http.NewServeMux()
	for _, s := range all {
		mux.HandleFunc("POST "+sources.URL("/webhooks", s), func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			received, err := s.Receive(r, body, time.Now())
			if err != nil {
				http.Error(w, err.Error(), http.StatusUnauthorized)
				return
			}
			one.Lock()
			defer one.Unlock()
			got(&received)
			w.WriteHeader(received.Answer.Status)
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

func TestSendIsGenuine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "payload.json")
	if err := os.WriteFile(file, []byte(`{"action": "closed", "repository": {"full_name": "a/b"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		args     []string
		want     string // the event's type; empty: an event that is not stored
		id       string
		wantOnce bool // the same id each time
	}{
		{"sample", []string{"github", "pull_request"}, "github.pull_request.opened", "", false},
		{"signed in the body", []string{"adyen", "CAPTURE"}, "adyen.CAPTURE", "", false},
		{"signed in a form", []string{"mailgun-routes"}, "mailgun-routes", "", false},
		{"sample with its action", []string{"github", "issues.opened"}, "github.issues.opened", "", false},
		{"sample without an action", []string{"github", "push"}, "github.push", "", false},
		{"the first sample", []string{"github"}, "github.push", "", false},
		{"at a rate", []string{"github", "--rate", "1000"}, "github.push", "", false},
		{"an alias", []string{"vsts"}, "azure-devops.git.push", "", false},
		{"a form", []string{"slack-interactive", "command"}, "slack-interactive.command./weather", "", false},
		{"a key pair", []string{"discord-interactions", "--id", "42"}, "discord-interactions.2", "42", true},
		{"ping", []string{"github", "ping"}, "", "", false},
		{"payload of one's own", []string{"github", "issues", "-f", file}, "github.issues.closed", "", false},
		{"id in a header", []string{"github", "push", "--id", "abc"}, "github.push", "abc", true},
		{"event and id in the body", []string{"stripe", "charge.succeeded"}, "stripe.charge.succeeded", "", false},
		{"id in the body", []string{"stripe", "charge.succeeded", "--id", "evt_1"}, "stripe.charge.succeeded", "evt_1", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []*receiver.Received
			server := genuine(t, func(r *receiver.Received) { got = append(got, r) })
			args := append([]string{"send"}, test.args...)
			stdout, _, err := belay(t, append(args, "--ingress", server.URL+"/webhooks", "--count", "2")...)
			if err != nil {
				t.Fatalf("%v %s", err, stdout)
			}
			if len(got) != 2 || strings.Count(stdout, " bytes to http://") != 2 {
				t.Fatalf("%d came: %s", len(got), stdout)
			}
			if test.want == "" {
				if got[0].Event != nil {
					t.Errorf("it is the event %s", got[0].Event.Type)
				}
				return
			}
			if got[0].Event.Type != test.want || test.id != "" && got[0].Event.ID != test.id {
				t.Errorf("it is %s %s, want %s %s", got[0].Event.Type, got[0].Event.ID, test.want, test.id)
			}
			if same := got[0].Event.ID == got[1].Event.ID; same != test.wantOnce {
				t.Errorf("the ids are %s and %s", got[0].Event.ID, got[1].Event.ID)
			}
		})
	}
}

func TestSendRefused(t *testing.T) {
	server := genuine(t, func(*receiver.Received) { t.Error("it was accepted") })
	stdout, _, err := belay(t, "send", "github", "push", "--ingress", server.URL+"/webhooks", "--secret", "another", "--json")
	if err == nil || !strings.Contains(err.Error(), "1 of 1 webhooks were not accepted") {
		t.Errorf("it ended with %v", err)
	}
	var a answer
	if err := json.Unmarshal([]byte(stdout), &a); err != nil || a.Status != http.StatusUnauthorized {
		t.Errorf("it printed %s", stdout)
	}
}

func TestSendWithTheConfiguration(t *testing.T) {
	t.Setenv("GITHUB_WEBHOOK_SECRET", "s3cret")
	t.Setenv("STRIPE_NEW", "whsec_new")
	t.Setenv("STRIPE_OLD", "whsec_old")
	var path, signature string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		path, signature = r.URL.Path, r.Header.Get("Stripe-Signature")
	}))
	defer server.Close()
	if _, _, err := belay(t, "send", "stripe/eu", "charge.succeeded", "--config", "testdata/good.yaml", "--ingress", server.URL+"/in"); err != nil {
		t.Fatal(err)
	}
	if path != "/in/stripe/eu" || !strings.HasPrefix(signature, "t=") {
		t.Errorf("posted to %s with %q", path, signature)
	}
}

func TestSendList(t *testing.T) {
	all, _, err := belay(t, "send", "--list")
	if err != nil || !strings.Contains(all, "shopify") || !strings.Contains(all, "stripe.charge.succeeded") {
		t.Errorf("%v %s", err, all)
	}
	one, _, err := belay(t, "send", "quickbooks", "--list")
	if err != nil || !strings.HasPrefix(one, "intuit ") || strings.Count(one, "\n") != 1 {
		t.Errorf("%v %s", err, one)
	}
}

func TestSendOverTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	dir := t.TempDir()
	ca, empty := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "empty.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for path, content := range map[string][]byte{ca: certificate, empty: nil} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ name, ca, want string }{
		{"its own authority", ca, ""},
		{"the system's", "", "certificate"},
		{"no certificate", empty, "holds no certificate"},
		{"no file", filepath.Join(dir, "none.pem"), "--ca: open"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := []string{"send", "github", "push", "--ingress", server.URL}
			if test.ca != "" {
				args = append(args, "--ca", test.ca)
			}
			_, _, err := belay(t, args...)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("it ended with %v, want %q", err, test.want)
			}
		})
	}
}

func TestSendMisused(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"nobody":        {nil, "as which provider"},
		"a stranger":    {[]string{"nobody"}, `no receiver is called "nobody"`},
		"no such event": {[]string{"github", "pull"}, "send one of: push, pull_request.opened"},
		"no times":      {[]string{"github", "--count", "0"}, "--count is 0"},
		"backwards":     {[]string{"github", "--rate=-1"}, "--rate is -1"},
		"too fast":      {[]string{"github", "--count", "2", "--rate", "1e10"}, "--rate is 1e+10"},
		"too slow":      {[]string{"github", "--count", "2", "--rate", "1e-10"}, "--rate is 1e-10"},
		"no such file":  {[]string{"github", "push", "-f", "/nowhere/x.json"}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := belay(t, append([]string{"send"}, test.args...)...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("it ended with %v, want %q", err, test.want)
			}
		})
	}
}
