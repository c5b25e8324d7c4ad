package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/belay-hooks/belay/pkg/client"
)

// table writes lines of columns.
func table(out io.Writer, lines [][]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintln(w, strings.Join(l, "\t"))
	}
	return w.Flush()
}

// A listing prints things of one kind: JSON with a line for each, or a table.
type listing struct {
	s     streams
	json  bool
	none  string // said where there is nothing
	lines [][]string
}

func newListing(s streams, asJSON bool, none string, head ...string) *listing {
	return &listing{s: s, json: asJSON, none: none, lines: [][]string{head}}
}

// add takes one more: what is shown of it as JSON, and in the columns of the table.
func (l *listing) add(shown any, columns ...string) error {
	if l.json {
		return jsonLine(l.s, shown)
	}
	l.lines = append(l.lines, columns)
	return nil
}

// pages lists up to so many of a list of the API, whose field has this name, and prints
// them. It says where there are more.
func pages[T any](ctx context.Context, l *listing, api *apiClient, path, field string, q url.Values, limit int, columns func(*T) []string) error {
	next := ""
	for left := limit; left > 0; {
		q.Set("limit", strconv.Itoa(min(left, 500)))
		var page []json.RawMessage
		var err error
		if page, next, err = client.Page[json.RawMessage](ctx, api.Client, path, field, q); err != nil {
			return err
		}
		if err := addAll(l, page, columns); err != nil {
			return err
		}
		if left -= len(page); next == "" {
			break
		}
		q.Set("cursor", next)
	}
	err := l.print()
	if next != "" {
		fmt.Fprintf(l.s.err, "there are more: --limit %d\n", 10*limit)
	}
	return err
}

// addAll takes what the API has listed, each as it came.
func addAll[T any](l *listing, all []json.RawMessage, columns func(*T) []string) error {
	for _, raw := range all {
		one := new(T)
		if err := json.Unmarshal(raw, one); err != nil {
			return fmt.Errorf("read the answer of the API: %w", err)
		}
		if err := l.add(raw, columns(one)...); err != nil {
			return err
		}
	}
	return nil
}

// print ends the listing.
func (l *listing) print() error {
	switch {
	case l.json:
		return nil
	case len(l.lines) == 1:
		_, err := fmt.Fprintln(l.s.out, l.none)
		return err
	}
	return table(l.s.out, l.lines)
}

// shownMessage is what the API says of an event's headers and body.
type shownMessage struct {
	Headers    map[string][]string
	Body       *string
	BodyBase64 string `json:"body_base64"`
	Truncated  bool   `json:"body_truncated"`
}

func (m *shownMessage) print(s streams) {
	if len(m.Headers) > 0 {
		fmt.Fprintln(s.out)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		fmt.Fprintf(s.out, "%s: %s\n", name, strings.Join(m.Headers[name], ", "))
	}
	switch {
	case m.Body != nil:
		fmt.Fprintf(s.out, "\n%s\n", *m.Body)
	case m.BodyBase64 != "":
		fmt.Fprintln(s.out, "\nthe body is no text: --json shows it in base64")
	}
	if m.Truncated {
		fmt.Fprintln(s.err, "this is the beginning of the body")
	}
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

// jsonLine writes a value in one line.
func jsonLine(s streams, v any) error {
	e := json.NewEncoder(s.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printJSON writes a value for people too.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
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
