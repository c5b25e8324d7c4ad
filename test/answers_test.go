package test

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/receiver"
)

const answersConfig = `
sources:
- {receiver: slack-interactive, secrets: ["env:SLACK"], answer: {wait: slash, in_code: true}}
- {receiver: discord-interactions, secrets: ["env:DISCORD"], answer: {wait: ping-pong}}
chains:
- name: ping-pong
  from: [discord-interactions]
  events: ["2"]
  handlers:
  - {name: answer, respond: {content_type: application/json, body: '{"type":4,"data":{"content":"pong {json:data.name}"}}'}}
- name: follow-up
  from: [slack-interactive]
  handlers:
  - {name: tell, reply: {to: "{form:response_url}", hosts: [%q], body: '{"text":"{form:text} is done"}'}}
`

// Slack and Discord are answered by chains in other processes than the one that
// they wait for: one is code (examples/slack), one is of the file. Slack gets a
// follow-up at its response URL too.
func TestChainsAnswerSlackAndDiscord(t *testing.T) {
	bin, dir := buildPrograms(t), t.TempDir()
	followUps := make(chan string, 10)
	slackCom := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		followUps <- r.URL.Path + " " + string(body)
	}))
	t.Cleanup(slackCom.Close)
	host := strings.TrimPrefix(slackCom.URL, "http://")

	brokerAddr, ingressAddr := freeAddr(t), freeAddr(t)
	file := filepath.Join(dir, "belay.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, answersConfig, host), 0o600); err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{
		"BELAY_NATS_URL=nats://" + brokerAddr, "BELAY_CONFIG=" + file, "BELAY_INGRESS_ADDR=" + ingressAddr, "BELAY_OUTBOX_ADDR=127.0.0.1:0",
		"BELAY_ALLOW_HTTP=true", "BELAY_ALLOW_NETWORKS=127.0.0.0/8", "SLACK=slack-signing-secret", "DISCORD=" + hex.EncodeToString(public),
	}
	role := func(name string) *program {
		p := &program{t: t, name: name, path: filepath.Join(bin, name), ops: freeAddr(t)}
		p.env = append([]string{"BELAY_OPS_ADDR=" + p.ops}, env...)
		return p
	}
	nats := &program{t: t, name: "nats-server", path: filepath.Join(bin, "nats-server"), args: []string{"-js", "-sd", dir, "-a", "127.0.0.1", "-p", brokerAddr[strings.LastIndex(brokerAddr, ":")+1:]}}
	nats.run()
	migrate := exec.CommandContext(t.Context(), filepath.Join(bin, "belay"), "migrate", "--shards", "3")
	migrate.Env = env
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	ingress, worker, code, outbox := role("ingress"), role("worker"), role("slack"), role("outbox")
	// The worker with the code runs no chain of the file, and needs none of it.
	code.env = append(code.env, "BELAY_CONFIG="+filepath.Join(dir, "none.yaml"))
	all := []*program{worker, code, outbox, ingress}
	for _, p := range all {
		p.run()
	}
	for _, p := range all {
		p.waitReady()
	}

	slack := newSource(t, receiver.SourceConfig{Receiver: "slack-interactive", Secrets: []receiver.Secret{inline("slack-signing-secret")}})
	discord := newSource(t, receiver.SourceConfig{Receiver: "discord-interactions", Secrets: []receiver.Secret{inline(hex.EncodeToString(private))}})
	client := &http.Client{Timeout: patience}
	send := func(s *receiver.Source, contentType, body string) (answer string, took time.Duration) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+ingressAddr+"/webhooks/"+s.Receiver().Slug, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", contentType)
		if _, err := s.Sign(r, []byte(body), time.Now()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d %s %s", resp.StatusCode, resp.Header.Get("Content-Type"), got), time.Since(began)
	}
	command := func(text string) (string, time.Duration) {
		t.Helper()
		form := url.Values{"command": {"/appointment"}, "text": {text}, "user_name": {"ann"}, "response_url": {slackCom.URL + "/T0KEN"}}
		return send(slack, "application/x-www-form-urlencoded", form.Encode())
	}

	want := `200 application/json {"text":"ann asked for add","response_type":"in_channel","attachments":[{"text":"","fallback":"title=doctor","color":"good","fields":[{"title":"title","value":"doctor","short":true}]}]}`
	if got, took := command("add title=doctor"); got != want || took > 2*time.Second {
		t.Errorf("Slack got, after %v\n%s\nwant\n%s", took, got, want)
	}
	if got, want := <-followUps, `/T0KEN {"text":"add title=doctor is done"}`; got != want {
		t.Errorf("Slack's response URL got %s, want %s", got, want)
	}
	for body, want := range map[string]string{
		`{"type":1}`: `200 application/json {"type":1}`,
		`{"type":2,"id":"1","data":{"name":"\"hi\""}}`: `200 application/json {"type":4,"data":{"content":"pong \"hi\""}}`,
		`{"type":3,"id":"2"}`:                          `200 application/json {"type":5}`, // not the chain's
		`{"type":2,"id":"3","data":{}}`:                `200 application/json {"type":5}`, // the chain's dead letter
	} {
		if got, took := send(discord, "application/json", body); got != want || took > 2*time.Second {
			t.Errorf("Discord got, for %s after %v, %s; want %s", body, took, got, want)
		}
	}

	// Without the worker the sender gets the plain answer, before it gives up. Once
	// the worker is back it handles what waited, and says nothing to those who left.
	code.kill()
	if got, took := command("later"); got != "200  " || took < 2*time.Second || took > 3*time.Second {
		t.Errorf("without a worker: %q after %v", got, took)
	}
	code.start()
	code.waitReady()
	if got, _ := command(""); !strings.Contains(got, "what is to be done?") {
		t.Errorf("the worker is back: %s", got)
	}
	// A program writes its log many lines at a time.
	waitFor(t, "the log of the ingress to tell who left", func() bool { return strings.Contains(ingress.log.String(), `"answer":"too_late"`) })
	if log := ingress.log.String(); strings.Contains(log, "T0KEN") {
		t.Errorf("ingress, %s", log)
	}
}
