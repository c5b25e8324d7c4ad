package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// permissions is what each program may do at the broker, as it is deployed.
const permissions = "../deploy/k8s/base/nats/permissions.conf"

// moreChains are an ordered one, and one that gives up what it gets after one long
// wait, which is parked in the log.
const moreChains = `  - name: strict
    from: [github]
    ordered: true
    start: earliest
    handlers: [{name: seen, log: {message: seen}}]
  - name: doomed
    from: [stripe/eu]
    events: [plan.created]
    start: earliest
    retry: {attempts: 2, first: 11s, max: 11s, jitter: 0}
    handlers: [{name: refused, http: {url: "http://127.0.0.1:1/", timeout: 1s}}]
`

// All that the programs and operators do, they may do: nothing is refused by a broker
// that has the permissions, users and TLS of a cluster.
func TestProgramsWorkWithinTheirPermissions(t *testing.T) {
	t.Parallel()
	const webhooks = 200
	bin, dir := buildPrograms(t), t.TempDir()
	g := clusterGuard(t, bin, dir)
	c := startGuarded(t, bin, g)
	consoleAddr := freeAddr(t)
	desk := &program{t: t, name: "console", path: filepath.Join(bin, "console"), ops: freeAddr(t)}
	desk.env = append([]string{
		"BELAY_OPS_ADDR=" + desk.ops, "BELAY_CONSOLE_ADDR=" + consoleAddr, "BELAY_NATS_URL=" + c.broker, "BELAY_CONFIG=" + c.config,
		"GITHUB_WEBHOOK_SECRET=" + githubSecret,
	}, g.env("console")...)
	desk.run()
	desk.waitReady()
	c.traffic.run(webhooks, blow{accepted, func() {}})

	tool := func(args ...string) string {
		t.Helper()
		out, err := c.tool(bin, "http://"+consoleAddr, args...)
		if err != nil {
			t.Errorf("belay %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	var dead []string
	waitFor(t, "the chain to give an event up", func() bool {
		dead = regexp.MustCompile(`doomed\.\d+\.\d+\.\d+\.\d+`).FindAllString(tool("deadletters"), -1)
		return len(dead) > 2
	})
	tool("deadletters", "show", dead[0])
	tool("deadletters", "redrive", dead[0])
	tool("deadletters", "redrive", dead[1], "--at", "start")
	tool("deadletters", "discard", dead[2], "--yes")
	tool("deadletters", "redrive", "--all", "--chain", "doomed", "--yes")
	tool("replay", "deploy", "--from", "1h", "--yes")
	id := c.traffic.anyAccepted("evt_")
	tool("events", "show", "stripe/eu/"+id)
	tool("erase", "stripe/eu/"+id, "--yes", "--why", "a test")
	tool("chains")
	tool("chains", "pause", "deploy")
	tool("chains", "resume", "deploy")
	tool("sources", "switch-off", "github/default")
	tool("sources", "resume", "github/default")
	tool("jobs")
	outboxTools(tool, c)
	c.worker.stop()
	waitFor(t, "the chain to be without workers", func() bool {
		_, err := c.tool(bin, "http://"+consoleAddr, "chains", "delete", "doomed", "--yes")
		return err == nil
	})
	c.worker.start()
	c.worker.waitReady()

	log, err := os.ReadFile(filepath.Join(dir, "nats.log"))
	if err != nil {
		t.Fatal(err)
	}
	refused := regexp.MustCompile(`(?m)^.*(?i:violation|authorization|authentication).*$`).FindAllString(string(log), -1)
	if len(refused) > 0 {
		t.Errorf("the broker has refused:\n%s", strings.Join(refused, "\n"))
	}
}

// outboxTools does what the owners of subscriptions do.
func outboxTools(tool func(args ...string) string, c *cluster) {
	sub := regexp.MustCompile(`sub_\w+`).FindString(tool("subscriptions", "create", c.traffic.target.URL+"/other", "--filter", "other.*"))
	for _, args := range [][]string{
		{"subscriptions"},
		{"subscriptions", "update", sub, "--rate-limit", "5"},
		{"subscriptions", "rotate", sub},
		{"subscriptions", "pause", sub},
		{"subscriptions", "resume", sub},
		{"notify", "another.thing", "--data", "{}", "--id", "1"},
		{"deliveries"},
		{"deliveries", "redrive", "--all", "--yes"},
		{"deliveries", "recover", sub, "--since", "1h", "--yes"},
		{"subscriptions", "health", sub},
		{"deliveries"},
		{"deliveries", "redrive", "--all", "--subscription", sub, "--yes"},
		{"deliveries", "recover", sub, "--since", "1h", "--yes"},
		{"subscriptions", "delete", sub},
		{"keys"},
	} {
		tool(args...)
	}
	msg := regexp.MustCompile(`msg_\w+`).FindString(c.api(http.MethodGet, "/v1/deliveries?limit=5"))
	for _, state := range []string{"pending", "delivered", "dead"} {
		c.api(http.MethodGet, "/v1/deliveries?state="+state)
	}
	c.api(http.MethodGet, "/v1/deliveries/"+msg)
	c.api(http.MethodPost, "/v1/deliveries/"+msg+"/retry")
	key := regexp.MustCompile(`key_\w+`).FindString(tool("keys", "create", "--access", "write"))
	tool("keys", "revoke", key)
}

// tool runs a command of an operator.
func (c *cluster) tool(bin, console string, args ...string) (string, error) {
	run := exec.CommandContext(c.t.Context(), filepath.Join(bin, "belay"), args...)
	run.Env = []string{
		"BELAY_CONSOLE_URL=" + console, "BELAY_OUTBOX_URL=" + c.outboxURL, "BELAY_API_KEY=" + apiKey,
	}
	out, err := run.CombinedOutput()
	return string(out), err
}

// api calls the API of the outbox.
func (c *cluster) api(method, path string) string {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.outboxURL+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+apiKey)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		c.t.Errorf("%s %s: %s %v\n%s", method, path, resp.Status, err, body)
	}
	return string(body)
}

// anyAccepted is the id of some webhook that was accepted, and begins so.
func (x *traffic) anyAccepted(prefix string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id := range x.accepted {
		if strings.HasPrefix(id, prefix) {
			return id
		}
	}
	return ""
}

// clusterGuard makes the users, the certificate and the permissions of a cluster, in
// the directory.
func clusterGuard(t *testing.T, bin, dir string) guard {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "belay"), "new", "secrets").Output()
	if err != nil {
		t.Fatal(err)
	}
	for documents := yaml.NewDecoder(bytes.NewReader(out)); ; {
		var secret struct {
			Metadata   struct{ Name string }
			StringData map[string]string `yaml:"stringData"`
		}
		if err := documents.Decode(&secret); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for key, text := range secret.StringData {
			if err := os.WriteFile(filepath.Join(dir, secret.Metadata.Name+"."+key), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The users include the permissions, from the directory that those are mounted at.
	rules, err := os.ReadFile(permissions)
	if err != nil {
		t.Fatal(err)
	}
	mounted := filepath.Join(filepath.Dir(dir), "nats")
	if err := os.Mkdir(mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mounted, "permissions.conf"), rules, 0o600); err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf("log_file: %q\ntls { cert_file: %q, key_file: %q, min_version: \"1.3\" }\ninclude %q\n",
		filepath.Join(dir, "nats.log"), filepath.Join(dir, "nats-tls.tls.crt"), filepath.Join(dir, "nats-tls.tls.key"),
		filepath.Join("..", filepath.Base(dir), "nats-users.users.conf"))
	return guard{url: "tls://localhost", conf: conf, chains: moreChains, env: func(name string) []string {
		return []string{"BELAY_NATS_NKEY=" + filepath.Join(dir, "nats-"+name+".seed"), "BELAY_NATS_CA=" + filepath.Join(dir, "nats-tls.ca.crt")}
	}}
}
