package sdk

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A node is a process of node/sdks.mjs.
type node struct {
	sdks []sdk
	in   *json.Encoder
	out  *bufio.Reader
}

// A question is what the process reads, an answer what it writes.
type (
	question struct {
		SDK      string            `json:"sdk"`
		Do       string            `json:"do"`
		Receiver string            `json:"receiver"`
		Secret   string            `json:"secret"`
		Method   string            `json:"method"`
		URL      string            `json:"url"`
		Headers  map[string]string `json:"headers"`
		Body     []byte            `json:"body"`
	}
	answer struct {
		OK      bool              `json:"ok"`
		Why     string            `json:"why"`
		Headers map[string]string `json:"headers"`
		Body    []byte            `json:"body"`
	}
)

// startNode starts the process, which ends with the test.
func startNode(t *testing.T) *node {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("there is no node (https://nodejs.org, 20 or newer), which runs the SDKs of npm")
	}
	if _, err := os.Stat(filepath.Join("node", "node_modules")); err != nil {
		t.Fatal("the SDKs of npm are not installed: run make test-sdk")
	}
	cmd := exec.Command("node", "sdks.mjs")
	cmd.Dir = "node"
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	n := &node{in: json.NewEncoder(stdin), out: bufio.NewReader(stdout)}
	var listed []struct {
		Name, Version string
		Receivers     []string
		Signs         bool
	}
	n.read(t, &listed)
	for _, l := range listed {
		s := sdk{name: l.Name, version: l.Version, receivers: l.Receivers}
		s.verify = func(q request, secret string) error {
			_, err := n.ask(t, l.Name, "verify", q, secret)
			return err
		}
		if l.Signs {
			s.sign = func(q *request, secret string) error {
				a, err := n.ask(t, l.Name, "sign", *q, secret)
				for name, value := range a.Headers {
					q.header.Set(name, value)
				}
				if len(a.Body) > 0 {
					q.body = a.Body
				}
				return err
			}
		}
		n.sdks = append(n.sdks, s)
	}
	return n
}

func (n *node) ask(t *testing.T, name, do string, q request, secret string) (a answer, err error) {
	t.Helper()
	if err := n.in.Encode(question{name, do, q.receiver, secret, q.method, q.url, flat(q.header), q.body}); err != nil {
		t.Fatal(err)
	}
	n.read(t, &a)
	if !a.OK {
		return a, errors.New(a.Why)
	}
	return a, nil
}

func (n *node) read(t *testing.T, into any) {
	t.Helper()
	line, err := n.out.ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line, into); err != nil {
		t.Fatalf("node said %q: %v", line, err)
	}
}
