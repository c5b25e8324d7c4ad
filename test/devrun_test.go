package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds what a test waits for from a process.
const patience = time.Minute

// belay builds the program, once for all tests, and returns its path.
var belay = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "belay-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "belay")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/belay")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &buildError{err, string(out)}
	}
	return path, nil
})

type buildError struct {
	error
	output string
}

func (e *buildError) Error() string { return e.error.Error() + "\n" + e.output }

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := belay(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// A process is a running program and what it prints.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // of both outputs
	seen  []string
	err   error // how it ended, once lines is closed
}

func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	path, err := belay()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(path, args...), lines: make(chan string, 1000)}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	read, write := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = write, write
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		_ = write.Close() // a pipe in memory: it has no error
	}()
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(read); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // does nothing to one that has ended
		p.drain()
	})
	return p
}

// drain reads what the process prints until it has ended.
func (p *process) drain() {
	for line := range p.lines {
		p.seen = append(p.seen, line)
	}
}

// wait returns the groups of the pattern in the first line from here on that it
// matches.
func (p *process) wait(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("it ended without %q:\n%s", pattern, strings.Join(p.seen, "\n"))
			}
			p.seen = append(p.seen, line)
			if found := re.FindStringSubmatch(line); found != nil {
				return found
			}
		case <-timeout:
			p.t.Fatalf("%q did not come:\n%s", pattern, strings.Join(p.seen, "\n"))
		}
	}
}

// stop asks the process to end and expects that it ends well.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	p.drain()
	if p.err != nil {
		p.t.Errorf("it ended with %v:\n%s", p.err, strings.Join(p.seen, "\n"))
	}
}

// run runs a verb to its end.
func run(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	path, err := belay()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// freePorts keeps a process off the ports that others use.
var freePorts = []string{
	"BELAY_INGRESS_ADDR=127.0.0.1:0", "BELAY_OUTBOX_ADDR=127.0.0.1:0", "BELAY_CONSOLE_ADDR=127.0.0.1:0",
	"BELAY_OPS_ADDR=127.0.0.1:0", "BELAY_DEMO_ADDR=127.0.0.1:0",
}

// A newcomer's first minute: serve --dev, the command that it prints, and the
// webhook on its way through every step to a subscriber that verifies it.
func TestFirstRun(t *testing.T) {
	temp := t.TempDir()
	served := start(t, append(freePorts, "TMPDIR="+temp), "serve", "--dev")
	curl := served.wait(`send github pull_request --ingress (\S+)`)
	served.wait(`curl -H 'Authorization: Bearer dev_`)

	out, stderr, code := run(t, nil, "send", "github", "pull_request", "--ingress", curl[1], "--json")
	if code != 0 {
		t.Fatalf("send ended with %d: %s%s", code, out, stderr)
	}
	var sent struct {
		Status  int
		EventID string `json:"event_id"`
	}
	if err := json.Unmarshal([]byte(out), &sent); err != nil || sent.Status != 202 || sent.EventID == "" {
		t.Fatalf("send printed %s (%v)", out, err)
	}
	served.wait(`webhook accepted outcome=stored source=github/default id=` + sent.EventID + ` type=github.pull_request.opened`)
	served.wait(`handled: show .*id=` + sent.EventID)
	served.wait(`handled: forward .*bytes=25194`)
	served.wait(`subscriber: signature verified .*bytes=25194`)

	// The same delivery again is the same event.
	out, _, code = run(t, nil, "send", "github", "pull_request", "--ingress", curl[1], "--id", sent.EventID)
	if code != 0 || !strings.Contains(out, "a duplicate") {
		t.Errorf("a repeated delivery: %d %s", code, out)
	}
	// Nobody else gets in.
	out, stderr, code = run(t, nil, "send", "github", "push", "--ingress", curl[1], "--secret", "not the secret")
	if code != 1 || !strings.HasPrefix(out, "401 ") {
		t.Errorf("a forged delivery: %d %s%s", code, out, stderr)
	}

	served.stop()
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// A newcomer who has keys already, of a tenant, gets as far; they are printed nowhere.
func TestFirstRunWithKeysOfOnesOwn(t *testing.T) {
	served := start(t, append(freePorts, "TMPDIR="+t.TempDir(), "BELAY_API_KEYS=acme=key-of-acme"), "serve", "--dev")
	curl := served.wait(`send github pull_request --ingress (\S+)`)
	if out, stderr, code := run(t, nil, "send", "github", "pull_request", "--ingress", curl[1]); code != 0 {
		t.Fatalf("send ended with %d: %s%s", code, out, stderr)
	}
	served.wait(`subscriber: signature verified`)
	served.stop()
	if strings.Contains(strings.Join(served.seen, "\n"), "key-of-acme") {
		t.Error("the key was printed")
	}
}

// What serve keeps, it has after a restart: an event is still known by its id.
func TestServeKeepsItsData(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "belay.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const source = "- {receiver: github, secrets: [env:GITHUB_SECRET]}\n"
	const chain = "chains:\n- {name: all, handlers: [{name: show, log: {}}]}\n"
	write("sources:\n" + source + chain)
	env := append(freePorts, "BELAY_CONFIG="+file, "BELAY_DATA_DIR="+filepath.Join(dir, "data"), "GITHUB_SECRET=s3cret")
	send := func(served *process, receiver, event string, more ...string) string {
		t.Helper()
		at := served.wait(`"msg":"belay serves".*"ingress":"([^"]+)"`)
		out, stderr, code := run(t, env, append([]string{"send", receiver, event, "--ingress", "http://" + at[1] + "/webhooks"}, more...)...)
		if code != 0 {
			t.Fatalf("send ended with %d: %s%s", code, out, stderr)
		}
		return out
	}

	first := start(t, env, "serve")
	if out := send(first, "github", "push", "--id", "one"); strings.Contains(out, "duplicate") {
		t.Errorf("the first delivery is no duplicate: %s", out)
	}
	first.wait(`"msg":"event handled".*"outcome":"done"`)

	// No second process may work on the data: it would destroy it.
	if _, stderr, code := run(t, env, "serve"); code != 1 || !strings.Contains(stderr, "is another belay serve using it?") {
		t.Errorf("a second process on the same data ended with %d: %s", code, stderr)
	}

	// A new version of the configuration is taken on; a bad one is not.
	write("sources: 7\n" + chain)
	first.wait(`configuration kept as it was.*belay.yaml:1: sources`)
	write("sources:\n" + source + "- {receiver: stripe, secrets: [env:GITHUB_SECRET]}\n" + chain)
	first.wait(`configuration loaded`)

	// A secret that is not there is told, and keeps nothing else from running.
	write("sources:\n" + source + "- {receiver: stripe, secrets: [env:NOT_SET]}\n" + chain)
	first.wait(`configuration loaded`)
	first.stop()

	second := start(t, env, "serve")
	second.wait(`refused for want of a secret.*belay.yaml:3: sources\[1\].secrets\[0\]: the environment variable NOT_SET is not set`)
	if out := send(second, "github", "push", "--id", "one"); !strings.Contains(out, "duplicate") {
		t.Errorf("after the restart it is new: %s", out)
	}
	second.stop()
}

// Told to stop, serve gives back what does not end within the grace, however short that
// is, and ends well.
func TestServeStopsWithinTheGrace(t *testing.T) {
	asked, release := make(chan struct{}, 1), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(release); slow.Close() })
	dir := t.TempDir()
	file := filepath.Join(dir, "belay.yaml")
	text := "sources: [{receiver: github, secrets: [env:GITHUB_SECRET]}]\nchains:\n- name: all\n  handlers: [{name: ask, http: {url: \"" + slow.URL + "\"}}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(freePorts, "BELAY_CONFIG="+file, "BELAY_DATA_DIR="+filepath.Join(dir, "data"), "GITHUB_SECRET=s3cret", "BELAY_SHUTDOWN_GRACE=6s")
	served := start(t, env, "serve")
	at := served.wait(`"msg":"belay serves".*"ingress":"([^"]+)"`)
	if out, stderr, code := run(t, env, "send", "github", "push", "--ingress", "http://"+at[1]+"/webhooks"); code != 0 {
		t.Fatalf("send ended with %d: %s%s", code, out, stderr)
	}
	select {
	case <-asked:
	case <-time.After(patience):
		t.Fatal("nobody asks")
	}
	served.stop()
}

func TestServeProblems(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("sources:\n- {receiver: gitbub, secrets: [env:X]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		env  []string
		args []string
		code int
		want string
	}{
		{"no configuration", []string{"BELAY_CONFIG=" + filepath.Join(dir, "none.yaml")}, []string{"serve"}, 1, "none.yaml: no such file or directory"},
		{"unknown receiver", nil, []string{"serve", "--config", bad}, 1, `bad.yaml:2: sources[0].receiver is "gitbub": want one of`},
		{"no such role", nil, []string{"serve", "--roles", "cook"}, 2, "--roles"},
		{"no such flag", nil, []string{"serve", "--dve"}, 2, "unknown flag --dve"},
		{"bad log level", nil, []string{"serve", "--log-level", "loud"}, 1, `the log level is "loud", want debug, info, warn or error`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, stderr, code := run(t, append(freePorts, test.env...), test.args...)
			if code != test.code || !strings.Contains(stderr, test.want) {
				t.Errorf("got %d %s, want %d %s", code, stderr, test.code, test.want)
			}
		})
	}
}
