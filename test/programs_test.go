package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// buildPrograms builds what is run in production, and the broker, and returns
// the directory.
func buildPrograms(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator),
		"./cmd/ingress", "./cmd/worker", "./cmd/outbox", "./cmd/console", "./cmd/belay", "./examples/slack", "github.com/nats-io/nats-server/v2")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// A program is one that is run as a process, ended in every way, and run again.
type program struct {
	t    *testing.T
	name string
	path string
	args []string
	env  []string
	ops  string // where it tells that it is ready; "" if it does not

	log    tail
	cmd    *exec.Cmd
	killed int

	mu     sync.Mutex
	ending bool          // it was told to, or is killed
	ended  chan struct{} // closed when it has
}

// run starts the program and ends it with the test. If that has failed, it shows
// the program's log.
func (p *program) run() {
	p.t.Helper()
	p.start()
	p.t.Cleanup(func() {
		p.kill()
		if p.t.Failed() {
			p.t.Logf("%s, %s", p.name, &p.log)
		}
	})
}

// start runs the program until it is told to stop. That it ends by itself is a
// failure.
func (p *program) start() {
	p.t.Helper()
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, p.env...)
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	// What it does at once may make others look at it, or kill it.
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd, p.ending, p.ended = cmd, false, make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		err := cmd.Wait()
		p.mu.Lock()
		if !p.ending {
			p.t.Errorf("%s ended by itself: %v", p.name, err)
		}
		p.mu.Unlock()
		close(ended)
	}(p.cmd, p.ended)
}

// end sends the signal and waits for the end.
func (p *program) end(signal os.Signal) {
	p.t.Helper()
	p.mu.Lock()
	p.ending = true
	p.mu.Unlock()
	_ = p.cmd.Process.Signal(signal) // of one that has ended: the caller's test has failed already
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		p.t.Errorf("%s does not end", p.name)
	}
}

// kill ends the program without a word, as the kernel does.
func (p *program) kill() {
	p.t.Helper()
	p.end(syscall.SIGKILL)
	p.killed++
}

// stop tells the program to stop, and expects that it does so in good order.
func (p *program) stop() {
	p.t.Helper()
	p.end(syscall.SIGTERM)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("%s was told to stop and ended with %d", p.name, code)
	}
}

// waitReady waits until the program says that it is ready.
func (p *program) waitReady() {
	p.t.Helper()
	waitFor(p.t, p.name+" to be ready", p.isReady)
}

func (p *program) isReady() bool {
	p.t.Helper()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.ops+"/readyz", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// waitFor waits for a fact.
func waitFor(t *testing.T, what string, fact func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !fact() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

// The ports that freeAddr gives. They lie below those that systems give to outgoing
// connections, or one of those could have a port while the program that owns it is dead.
const firstPort, ports = 15_000, 15_000

var (
	anyPort = rand.Uint32N(ports) // where this process begins, if tests of another are running
	given   atomic.Uint32
)

// freeAddr is an address of this machine that nobody listens on, and that no other
// test is given: who asks for it may listen much later.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+(anyPort+given.Add(1))%ports))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String()
	}
	t.Fatal("no port is free")
	return ""
}

// tail is the end of a program's log.
type tail struct {
	mu    sync.Mutex
	lines []string
	rest  []byte
}

const tailLines = 60

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 {
			break
		}
		l.lines = append(l.lines, string(l.rest[:i]))
		l.rest = l.rest[i+1:]
	}
	if n := len(l.lines); n > tailLines {
		l.lines = append(l.lines[:0], l.lines[n-tailLines:]...)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("the end of its log:\n%s", strings.Join(l.lines, "\n"))
}
