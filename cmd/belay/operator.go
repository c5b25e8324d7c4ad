package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/belay-hooks/belay/pkg/config"
)

// operatorFlags are the flags of the verbs that call the console's API.
type operatorFlags struct {
	URL  string          `name:"url" env:"BELAY_CONSOLE_URL" default:"http://127.0.0.1:8082" help:"The console API."`
	Key  config.Redacted `env:"BELAY_CONSOLE_KEY" placeholder:"KEY" help:"The operator's key. Better given as BELAY_CONSOLE_KEY than as a flag, which every process of the machine can read."`
	JSON bool            `name:"json" env:"-" help:"Print the API's answers, a line each."`
}

// maxAPIAnswer bounds an answer of the API in bytes: a page of dead letters, or one
// with a body.
const maxAPIAnswer = 64 << 20

// operatorClient calls the console's API.
type operatorClient struct {
	operatorFlags
	client *http.Client
}

func (f operatorFlags) dial() (*operatorClient, error) {
	u, err := url.Parse(f.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, &exitError{errors.New("--url: want the address of the console API, such as http://127.0.0.1:8082"), exitUsage}
	}
	return &operatorClient{operatorFlags: f, client: &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}}, nil
}

// call makes a request, and reads the answer into a value. It returns the answer's
// text too.
func (c *operatorClient) call(ctx context.Context, method, path string, body, into any) ([]byte, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.Key != "" {
		r.Header.Set("Authorization", "Bearer "+string(c.Key))
	}
	response, err := c.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w; is a console running there? --url or BELAY_CONSOLE_URL says where it is", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAPIAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", r.URL.Host, err)
	}
	if response.StatusCode >= 300 {
		return nil, problemText(response.Status, answer)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			return nil, fmt.Errorf("read the answer of %s: %w", r.URL.Host, err)
		}
	}
	return bytes.TrimSpace(answer), nil
}

// problemText is what an answer says that is a problem.
func problemText(status string, answer []byte) error {
	var p struct {
		Detail string
		Errors []struct{ Pointer, Parameter, Detail string }
	}
	if err := json.Unmarshal(answer, &p); err != nil || p.Detail == "" {
		return fmt.Errorf("the console answered %s", status)
	}
	text := p.Detail
	for _, e := range p.Errors {
		text += "\n  " + strings.TrimPrefix(e.Pointer+e.Parameter, "#/") + ": " + e.Detail
	}
	return errors.New(text)
}

// table writes lines of columns.
func table(out io.Writer, lines [][]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintln(w, strings.Join(l, "\t"))
	}
	return w.Flush()
}

// confirm asks a person whether to go on. Who cannot be asked says --yes.
func confirm(in io.Reader, out io.Writer, question string) error {
	fmt.Fprintf(out, "%s [y/N] ", question)
	answer, err := bufio.NewReader(in).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); a == "y" || a == "yes" {
		return nil
	}
	if err != nil {
		fmt.Fprintln(out)
	}
	return &exitError{errors.New("nothing was changed; --yes answers the question"), exitFailed}
}

// ago is how long ago a time was, for people.
func ago(at time.Time) string {
	switch d := time.Since(at); {
	case at.IsZero():
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// line makes a text fit into a column.
func line(s string, most int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// when reads a time that a person gives: 2026-11-22, 2026-11-22T10:00:00Z, or how
// long ago: 24h.
type when struct{ time.Time }

// UnmarshalText reads the time.
func (w *when) UnmarshalText(text []byte) error {
	s := string(text)
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		w.Time = time.Now().Add(-d)
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			w.Time = at
			return nil
		}
	}
	return fmt.Errorf("%q is no time: want 2026-11-22, 2026-11-22T10:00:00Z, or 24h for so long ago", s)
}

func (w when) text() string {
	if w.IsZero() {
		return ""
	}
	return w.UTC().Format(time.RFC3339Nano)
}

// shownJob is what the API says of a job.
type shownJob struct {
	ID, Kind, State, Chain, Error string
	Total, Handled, Skipped       uint64
	Created, Ended                time.Time
}

// follow prints how a job gets on until it has ended. When it is interrupted the job
// goes on without it.
func (c *operatorClient) follow(ctx context.Context, s streams, path string, j shownJob) error {
	began := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	live := isTerminal(s.err)
	for {
		if live {
			fmt.Fprintf(s.err, "\r%s %s: %d of %d  ", j.Kind, j.State, j.Handled+j.Skipped, j.Total)
		}
		if j.State != "running" {
			break
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(s.err, "\nthe job %s goes on: belay jobs show %s\n", j.ID, j.ID)
			return nil
		case <-tick.C:
		}
		j = shownJob{}
		if _, err := c.call(ctx, http.MethodGet, path, nil, &j); err != nil && ctx.Err() == nil {
			return err
		}
	}
	if live {
		fmt.Fprintln(s.err)
	}
	text := fmt.Sprintf("%s %s: %d of %d in %v", j.Kind, j.State, j.Handled, j.Total, time.Since(began).Round(time.Millisecond))
	if j.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped, the last one: %s", j.Skipped, j.Error)
	}
	fmt.Fprintln(s.out, text)
	return nil
}

// isTerminal reports whether a person looks at what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
