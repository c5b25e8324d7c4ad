// Package load sends webhooks to an ingress that may die at any moment, and
// counts what is stored of them: for tests that hold each answer against the
// store.
package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/belay-hooks/belay/internal/bench"
	"github.com/belay-hooks/belay/pkg/receiver"
)

// Secret is what all webhooks of a load are signed with.
const Secret = "a secret of a load"

// The ids of the deliveries, whose last digits are the number.
const (
	zeros  = "000000000000"
	prefix = "b3e1a9d0-7f1c-11ef-8000-"
)

// ID is the delivery id of the n-th webhook.
func ID(n uint64) string { return prefix + fmt.Sprintf("%0*d", len(zeros), n) }

// Sources is the configuration of the ingress that a load is for. Each webhook
// is spread by its id. The sender of github waits 10 s for an answer, and that
// of github/hasty only 3 s.
const Sources = `sources:
  - {receiver: github, secrets: [env:LOAD_SECRET], key: "{header:X-GitHub-Delivery}"}
  - {receiver: github, id: hasty, secrets: [env:LOAD_SECRET], key: "{header:X-GitHub-Delivery}", timeout: 3s}
`

// Env is the variable that Sources reads.
const Env = "LOAD_SECRET=" + Secret

// bodySize is about that of GitHub's push of one commit, in bytes.
const bodySize = 4 << 10

// Body is what all webhooks of a load carry.
var Body = []byte(`{"ref":"refs/heads/main","commits":["` + strings.Repeat("5d9f", (bodySize-40)/4) + `"]}`)

type inline string

func (s inline) Value() (string, error) { return string(s), nil }

// Answer is what came of a request.
type Answer struct {
	// Number is that of the webhook.
	Number uint64
	// Sent is when the request was sent, and Took how long the answer took.
	Sent time.Time
	Took time.Duration
	// Status is the answer's; 0: there was none.
	Status int
	// Duplicate says that the ingress recognised the webhook.
	Duplicate bool
}

// Accepted reports whether it is 2xx.
func (a Answer) Accepted() bool { return a.Status/100 == 2 }

// A Sender has one connection, and makes another when it is lost. It serves one
// goroutine.
type Sender struct {
	addr    string
	timeout time.Duration
	hook    *bench.Hook
	conn    net.Conn
	in      *bufio.Reader
}

// NewSender makes a sender to the source at this path that waits so long for an
// answer.
func NewSender(addr, path string, timeout time.Duration) (*Sender, error) {
	source, err := receiver.NewSource(receiver.SourceConfig{Receiver: "github", Secrets: []receiver.Secret{inline(Secret)}})
	if err != nil {
		return nil, err
	}
	hook, err := bench.NewHook(bench.HookConfig{
		Source: source, Path: path, Body: Body, ID: prefix + zeros,
		Header: http.Header{
			"Content-Type": {"application/json"}, "X-Github-Event": {"push"}, "X-Github-Delivery": {prefix + zeros},
		},
	})
	if err != nil {
		return nil, err
	}
	return &Sender{addr: addr, timeout: timeout, hook: hook}, nil
}

// Close closes the connection.
func (s *Sender) Close() {
	if s.conn != nil {
		_ = s.conn.Close() // of no use any more, whatever it says
		s.conn = nil
	}
}

// Send sends the n-th webhook once. The context bounds only the making of a
// connection.
func (s *Sender) Send(ctx context.Context, n uint64) Answer {
	a := Answer{Number: n, Sent: time.Now()}
	if err := s.send(ctx, &a); err != nil {
		s.Close()
	}
	a.Took = time.Since(a.Sent)
	return a
}

func (s *Sender) send(ctx context.Context, a *Answer) (err error) {
	if s.conn == nil {
		dialer := net.Dialer{Timeout: s.timeout}
		if s.conn, err = dialer.DialContext(ctx, "tcp", s.addr); err != nil {
			s.conn = nil
			return err
		}
		s.in = bufio.NewReader(s.conn)
	}
	request, err := s.hook.Numbered(a.Number, a.Sent)
	if err != nil {
		return err
	}
	if err := s.conn.SetDeadline(a.Sent.Add(s.timeout)); err != nil {
		return err
	}
	if _, err := s.conn.Write(request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return err
	}
	// What stands in the status line was said, even if the rest was cut off.
	a.Status, a.Duplicate = resp.StatusCode, resp.Header.Get("Belay-Duplicate") == "true"
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.Close {
		s.Close()
	}
	return resp.Body.Close()
}

// numberOf is the number in a delivery id, or in what ends with one.
func numberOf(id []byte) (uint64, error) {
	_, digits, ok := bytes.Cut(id, []byte(prefix))
	if !ok {
		return 0, fmt.Errorf("the id %q is not of this load", id)
	}
	return strconv.ParseUint(string(digits), 10, 64)
}
