package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// An event that ends the process which handles it, each time, is given up, soon
// and those beside it go through: with a broker in the same process, which
// forgets to whom it had handed what.
func TestEventThatEndsItsProcess(t *testing.T) {
	t.Parallel()
	path, err := belay()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const beside = 30
	var mu sync.Mutex
	handled, ends := map[string]int{}, 0
	var served *program
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Belay-Event-Id") == "poison" {
			ends++
			served.mu.Lock()
			defer served.mu.Unlock()
			_ = served.cmd.Process.Signal(syscall.SIGKILL)
			return
		}
		handled[r.Header.Get("Belay-Event-Id")]++
	}))
	defer target.Close()
	file := filepath.Join(dir, "belay.yaml")
	text := fmt.Sprintf("sources:\n- {receiver: github, secrets: [env:GITHUB_SECRET]}\nchains:\n- name: c\n  handlers: [{name: forward, http: {url: %q}}]\n", target.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ingress, ops, api := freeAddr(t), freeAddr(t), freeAddr(t)
	served = &program{t: t, name: "belay serve", path: path, args: []string{"serve"}, ops: ops, env: []string{
		"BELAY_CONFIG=" + file, "BELAY_DATA_DIR=" + filepath.Join(dir, "data"), "GITHUB_SECRET=s3cret",
		"BELAY_INGRESS_ADDR=" + ingress, "BELAY_OPS_ADDR=" + ops, "BELAY_CONSOLE_ADDR=" + api, "BELAY_OUTBOX_ADDR=127.0.0.1:0",
	}}
	served.run()
	served.waitReady()

	// The chain is paused while they come, so that all are in hand together.
	operate := func(args ...string) string {
		t.Helper()
		out, stderr, code := run(t, []string{"BELAY_CONSOLE_URL=http://" + api, "GITHUB_SECRET=s3cret"}, args...)
		if code != 0 {
			t.Fatalf("%v ended with %d: %s%s", args, code, out, stderr)
		}
		return out
	}
	operate("chains", "pause", "c", "--why", "test")
	for i := range beside {
		if i == beside/2 {
			operate("send", "github", "push", "--secret", "s3cret", "--ingress", "http://"+ingress+"/webhooks", "--id", "poison")
		}
		operate("send", "github", "push", "--secret", "s3cret", "--ingress", "http://"+ingress+"/webhooks", "--id", fmt.Sprint(i))
	}
	served.mu.Lock()
	served.ending = true // it may end
	served.mu.Unlock()
	// It may not live long enough to say that it has done so.
	_, _, _ = run(t, []string{"BELAY_CONSOLE_URL=http://" + api}, "chains", "resume", "c")

	began := time.Now()
	dead := func() bool {
		client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + api + "/v1/deadletters")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var page struct {
			Deadletters []struct{ Reason, Handler string }
		}
		if err := json.NewDecoder(resp.Body).Decode(&page); err != nil || len(page.Deadletters) == 0 {
			return false
		}
		if l := page.Deadletters[0]; l.Reason != "crashed" || l.Handler != "forward" || len(page.Deadletters) > 1 {
			t.Errorf("dead letters: %+v", page.Deadletters)
		}
		return true
	}
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(5 * patience); !dead(); {
		select {
		case <-served.ended:
			served.start()
			served.mu.Lock()
			served.ending = true
			served.mu.Unlock()
		case <-ticker.C:
		case <-deadline:
			t.Fatal("the event is not given up")
		}
	}
	waitFor(t, "the others", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(handled) == beside
	})
	again := 0
	for _, n := range handled {
		again += n - 1
	}
	t.Logf("given up after %v and %d ends; %d events beside it, handled again %d times", time.Since(began), ends, beside, again)
	if ends < 4 || ends > 6 { // one that was given back counts as begun with
		t.Errorf("it ended the process %d times, want 4 to 6", ends)
	}
}
