package sdk

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the outbox of a whole Belay delivers passes the verifiers of Standard
// Webhooks and of Svix.
func TestSDKsAcceptWhatTheOutboxDelivers(t *testing.T) {
	api, key := serve(t)
	delivered := make(chan request, 1)
	subscriber := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		select {
		case delivered <- request{receiver: "standard-webhooks", method: r.Method, url: "http://" + r.Host + r.URL.Path, header: r.Header, body: body}:
		default: // the second try of one that was slow
		}
	}))
	defer subscriber.Close()
	var created struct{ Secret string }
	call(t, api+"/v1/subscriptions", key, "application/json",
		map[string]any{"url": subscriber.URL, "filters": []string{"order.paid"}}, &created)
	call(t, api+"/v1/notifications", key, "application/cloudevents+json", map[string]any{
		"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid", "data": map[string]any{"order": 42, "note": "für 5 €"},
	}, nil)
	var q request
	select {
	case q = <-delivered:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was delivered")
	}
	verified := 0
	for _, s := range all(t) {
		if !slices.Contains(s.receivers, "standard-webhooks") {
			continue
		}
		verified++
		if err := s.verify(q, created.Secret); err != nil {
			t.Errorf("%s refuses it: %v\n%v\n%s", s, err, q.header, q.body)
		}
		changed := q
		changed.body = append(slices.Clone(q.body), ' ')
		if err := s.verify(changed, created.Secret); err == nil {
			t.Errorf("%s accepts it with another body", s)
		}
	}
	if verified < 4 {
		t.Errorf("%d SDKs have verified it, want those of Go and of npm", verified)
	}
}

// serve starts belay serve --dev on free ports, and finds the outbox's API and its key.
func serve(t *testing.T) (api, key string) {
	t.Helper()
	cmd := exec.Command(build(t), "serve", "--dev")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(),
		"BELAY_INGRESS_ADDR=127.0.0.1:0", "BELAY_OUTBOX_ADDR=127.0.0.1:0", "BELAY_OPS_ADDR=127.0.0.1:0", "BELAY_DEMO_ADDR=127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("belay serve: %v", err)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		switch words := strings.Fields(lines.Text()); {
		case len(words) == 3 && words[0] == "outbox":
			api = strings.TrimSuffix(words[2], "/v1/subscriptions")
		case len(words) == 3 && words[1] == "key":
			key = words[2]
		}
		if key != "" {
			go io.Copy(io.Discard, out) // until it ends
			return api, key
		}
	}
	t.Fatal("belay serve --dev did not come up")
	return "", ""
}

// call makes one call of the outbox's API.
func call(t *testing.T, url, key, contentType string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", contentType)
	resp, err := (&http.Client{Timeout: 20 * time.Second}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		t.Fatalf("%s answered %d %s (%v)", url, resp.StatusCode, answer, err)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(answer, out); err != nil {
		t.Fatal(err)
	}
}
