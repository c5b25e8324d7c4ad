package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/receiver"
)

const verifySecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var verifyTime = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// captured is a file with a genuine request of a receiver, changed.
func captured(t *testing.T, name, contentType string, change func(head, body string) string) string {
	t.Helper()
	s, err := receiver.NewSource(receiver.SourceConfig{Receiver: name, Secrets: []receiver.Secret{typed(verifySecret)}})
	if err != nil {
		t.Fatal(err)
	}
	body := `{"id":"evt_1","type":"charge.succeeded","action":"opened"}`
	r := httptest.NewRequest("POST", "https://hooks.example.com/webhooks/"+name, nil)
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Github-Event", "issues")
	if _, err := s.Sign(r, []byte(body), verifyTime); err != nil {
		t.Fatal(err)
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", r.URL.RequestURI(), r.Host, len(body))
	if err := r.Header.Write(&head); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "request.txt")
	if err := os.WriteFile(path, []byte(change(head.String()+"\r\n", body)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestVerify(t *testing.T) {
	t.Setenv("BELAY_TEST_SECRET", verifySecret)
	t.Setenv("BELAY_TEST_OTHER", verifySecret+"\n")
	as := func(head, body string) string { return head + body }
	for name, test := range map[string]struct {
		receiver string
		media    string
		change   func(head, body string) string
		args     []string
		want     string
		code     int
	}{
		"genuine":       {"github", "", as, nil, "github/default verifies: the event github.issues.opened, id ", 0},
		"in time":       {"stripe", "", as, []string{"--at", "2026-11-22T10:01:00Z"}, "stripe/default verifies: the event stripe.charge.succeeded, id evt_1", 0},
		"in seconds":    {"stripe", "", as, []string{"--at", fmt.Sprint(verifyTime.Unix())}, "verifies: ", 0},
		"too late":      {"stripe", "", as, []string{"--at", "2026-11-22T11:00:00Z"}, "the signature is right; the timestamp is 1h0m0s old", 1},
		"editor":        {"github", "", func(h, b string) string { return h + b + "\n" }, nil, "was left out", 0},
		"body changed":  {"github", "", func(h, b string) string { return h + strings.ReplaceAll(b, ":", ": ") }, nil, "Why: the signature is that of the body as compact JSON (body_changed)", 1},
		"secret":        {"github", "", as, []string{"--secret", "env:BELAY_TEST_OTHER"}, "(secret_space)", 1},
		"content type":  {"github", "text/plain", as, nil, "would verify, but an ingress does not take it", 1},
		"method":        {"github", "", as, []string{"--method", "PUT"}, "an ingress refuses this method", 1},
		"header":        {"github", "", as, []string{"-H", "X-Hub-Signature-256: sha256=00"}, "(signature_malformed)", 1},
		"bad time":      {"github", "", as, []string{"--at", "noon"}, "", 2},
		"bad header":    {"github", "", as, []string{"-H", "x"}, "", 2},
		"bad URL":       {"github", "", as, []string{"--url", "x"}, "", 2},
		"bare secret":   {"github", "", as, []string{"--secret", verifySecret}, "", 2},
		"no secret":     {"github", "", as, []string{"--secret", "env:BELAY_TEST_NONE"}, "", 2},
		"two inputs":    {"github", "", as, []string{"--body", "x"}, "", 2},
		"no such":       {"gitbub", "", as, nil, "", 2},
		"no request":    {"github", "", func(string, string) string { return "" }, nil, "", 2},
		"demo's secret": {"github", "", as, []string{"--secret", ""}, "that of serve --dev", 1},
	} {
		t.Run(name, func(t *testing.T) {
			contentType, signer := test.media, test.receiver
			if contentType == "" {
				contentType = "application/json"
			}
			if signer == "gitbub" {
				signer = "github"
			}
			path := captured(t, signer, contentType, test.change)
			stdout, _, err := belay(t, append([]string{"verify", test.receiver, path, "--secret", "env:BELAY_TEST_SECRET"}, test.args...)...)
			code := 0
			var exit *exitError
			switch {
			case errors.As(err, &exit):
				code = exit.code
			case err != nil:
				code = exitFailed
			}
			if code != test.code || !strings.Contains(stdout, test.want) {
				t.Errorf("ended with %d (%v), want %d; printed\n%s\nwant in it\n%s", code, err, test.code, stdout, test.want)
			}
			if strings.Contains(stdout+fmt.Sprint(err), verifySecret[6:]) {
				t.Error("it tells the secret")
			}
		})
	}
}

// The parts of a request one by one, and a secret that is asked for.
func TestVerifyParts(t *testing.T) {
	dir := t.TempDir()
	body := filepath.Join(dir, "body.json")
	if err := os.WriteFile(body, []byte(`{"type":"a"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := verifyCmd{
		Receiver: "gitlab", Body: body, Secret: "-", stdin: strings.NewReader("tok\n"), JSON: true,
		Header: []string{"X-Gitlab-Token: tok", "Content-Type: application/json", "X-Gitlab-Event: Push Hook"},
	}
	var out bytes.Buffer
	if err := c.Run(t.Context(), streams{out: &out, err: io.Discard}); err != nil {
		t.Fatalf("%v %s", err, out.String())
	}
	var v verdict
	if err := json.Unmarshal(out.Bytes(), &v); err != nil || !v.Verifies || v.Source != "gitlab/default" || len(v.Steps) == 0 {
		t.Errorf("%v %s", err, out.String())
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Secret, c.JSON = "file:"+secret, false
	if err := c.Run(t.Context(), streams{out: &out, err: io.Discard}); err == nil || !strings.Contains(out.String(), "(other_secret)") {
		t.Errorf("%v %s", err, out.String())
	}
}

// A source of the configuration file, and another one whose secret it is.
func TestVerifyWithTheConfiguration(t *testing.T) {
	t.Setenv("BELAY_TEST_SECRET", verifySecret)
	t.Setenv("BELAY_TEST_OTHER", "another")
	file := filepath.Join(t.TempDir(), "belay.yaml")
	text := "sources:\n- {receiver: github, secrets: [env:BELAY_TEST_OTHER]}\n- {receiver: github, id: eu, secrets: [env:BELAY_TEST_SECRET]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	request := captured(t, "github", "application/json", func(head, body string) string { return head + body })
	if stdout, _, err := belay(t, "verify", "github/eu", request, "--config", file); err != nil || !strings.Contains(stdout, "github/eu verifies") {
		t.Errorf("%v %s", err, stdout)
	}
	if stdout, _, err := belay(t, "verify", "github", request, "--config", file); err == nil || !strings.Contains(stdout, "that of the source github/eu (other_source)") {
		t.Errorf("%v %s", err, stdout)
	}
}
