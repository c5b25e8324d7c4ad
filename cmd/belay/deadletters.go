package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

type deadlettersCmd struct {
	List    listLettersCmd    `cmd:"" default:"withargs" help:"List dead letters, the newest first."`
	Show    showLetterCmd     `cmd:"" help:"Show one: the event, its body, every attempt."`
	Redrive redriveLettersCmd `cmd:"" help:"Put dead letters back into their chains."`
	Discard discardLettersCmd `cmd:"" help:"Close dead letters without handling them."`
}

// Help shows how it is used.
func (*deadlettersCmd) Help() string {
	return `What a chain has given up is kept whole, until it is redriven or discarded:

  belay deadletters
  belay deadletters --chain orders --type 'order.*' --from 24h
  belay deadletters show orders.0.1207.0.0
  belay deadletters redrive orders.0.1207.0.0
  belay deadletters redrive --all --chain orders --why 'fixed in v1.4'
  belay deadletters redrive --all --chain orders --at start --rate 50
  belay deadletters discard --all --reason unreadable --yes

A redrive goes on at the step that failed; --at start runs the whole chain again,
as a new run with other idempotency keys. Many are redriven by a job of the
console, which goes on if this command, or the console, ends: see belay jobs.`
}

// letterFilter selects dead letters.
type letterFilter struct {
	Chain  string `env:"-" placeholder:"NAME" help:"Given up by this chain."`
	Type   string `env:"-" placeholder:"PATTERN" help:"Of this type: push, pull_request.*, github.push."`
	Source string `env:"-" placeholder:"SOURCE" help:"From this receiver (github) or source (github/eu)."`
	Reason string `env:"-" placeholder:"REASON" help:"For this reason: attempts_exhausted, too_old, handler_gave_up, condition_failed, unreadable, expired, values_too_large."`
	From   when   `env:"-" placeholder:"TIME" help:"Given up at this time or later: 2026-11-22, 2026-11-22T10:00:00Z, or 24h ago."`
	Until  when   `env:"-" placeholder:"TIME" help:"Given up before this time."`
}

func (f letterFilter) fields() map[string]string {
	m := map[string]string{"chain": f.Chain, "type": f.Type, "source": f.Source, "reason": f.Reason, "from": f.From.text(), "until": f.Until.text()}
	for name, value := range m {
		if value == "" {
			delete(m, name)
		}
	}
	return m
}

type listLettersCmd struct {
	operatorFlags
	letterFilter
	Closed bool `env:"-" help:"Those that were redriven or discarded."`
	Oldest bool `env:"-" help:"The oldest first."`
	Limit  int  `env:"-" default:"50" help:"How many."`
}

// shownLetter is what the API says of a dead letter.
type shownLetter struct {
	ID, State, Chain, Handler, Reason, Error string
	Attempts, Run, Bytes                     int
	Died                                     time.Time
	Event                                    *struct {
		ID, Source, Type, Key string
		Time                  time.Time
		ContentType           string `json:"content_type"`
	}
	Closed *struct {
		By, Why, Job string
		At           time.Time
	}
	Headers  map[string][]string
	Failures []struct {
		Handler string
		Attempt int
		Time    time.Time
		Error   string
	}
	Body       *string
	BodyBase64 string `json:"body_base64"`
	Truncated  bool   `json:"body_truncated"`
}

// Run lists.
func (c *listLettersCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	q := url.Values{}
	for name, value := range c.fields() {
		q.Set(name, value)
	}
	if c.Closed {
		q.Set("state", "closed")
	}
	if c.Oldest {
		q.Set("order", "oldest")
	}
	lines := [][]string{{"ID", "AGE", "TYPE", "EVENT", "HANDLER", "REASON", "ERROR"}}
	if c.Closed {
		lines = [][]string{{"ID", "AGE", "TYPE", "EVENT", "STATE", "BY", "WHY"}}
	}
	more := false
	for left := c.Limit; left > 0; {
		q.Set("limit", strconv.Itoa(min(left, 500)))
		var page struct {
			Deadletters []json.RawMessage
			Next        string
		}
		if _, err := api.call(ctx, http.MethodGet, "/v1/deadletters?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		for _, raw := range page.Deadletters {
			if c.JSON {
				fmt.Fprintln(s.out, string(raw))
				continue
			}
			var l shownLetter
			if err := json.Unmarshal(raw, &l); err != nil {
				return fmt.Errorf("read a dead letter: %w", err)
			}
			lines = append(lines, l.columns(c.Closed))
		}
		left -= len(page.Deadletters)
		q.Set("cursor", page.Next)
		if more = page.Next != ""; !more {
			break
		}
	}
	if c.JSON {
		return nil
	}
	if len(lines) == 1 {
		fmt.Fprintln(s.out, "no dead letters")
		return nil
	}
	if more {
		defer fmt.Fprintf(s.err, "there are more: --limit %d\n", 10*c.Limit)
	}
	return table(s.out, lines)
}

func (l *shownLetter) columns(closed bool) []string {
	kind, id := "-", "-"
	if l.Event != nil {
		kind, id = l.Event.Type, l.Event.ID
	}
	c := []string{l.ID, ago(l.Died), line(kind, 40), line(id, 40)}
	if closed && l.Closed != nil {
		return append(c, l.State, l.Closed.By, line(l.Closed.Why, 40))
	}
	return append(c, l.Handler, l.Reason, line(l.Error, 60))
}

type showLetterCmd struct {
	operatorFlags
	ID string `arg:"" help:"The id of the dead letter."`
}

// Run shows.
func (c *showLetterCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	var l shownLetter
	raw, err := api.call(ctx, http.MethodGet, "/v1/deadletters/"+url.PathEscape(c.ID), nil, &l)
	if err != nil {
		return err
	}
	if c.JSON {
		fmt.Fprintln(s.out, string(raw))
		return nil
	}
	lines := [][]string{{"dead letter", l.ID}, {"state", l.State}, {"chain", l.Chain}, {"handler", l.Handler}, {"reason", l.Reason},
		{"given up", l.Died.Local().Format(time.RFC3339)}, {"attempts", strconv.Itoa(l.Attempts)}, {"run", strconv.Itoa(l.Run)}}
	if e := l.Event; e != nil {
		lines = append(lines, []string{"event", e.ID}, []string{"source", e.Source}, []string{"type", e.Type},
			[]string{"came in", e.Time.Local().Format(time.RFC3339)}, []string{"content type", e.ContentType})
	}
	if l.Closed != nil {
		lines = append(lines, []string{l.State + " by", l.Closed.By}, []string{l.State + " at", l.Closed.At.Local().Format(time.RFC3339)}, []string{"why", l.Closed.Why})
	}
	if err := table(s.out, lines); err != nil {
		return err
	}
	for _, f := range l.Failures {
		fmt.Fprintf(s.out, "\n%s  %s, attempt %d\n  %s\n", f.Time.Local().Format(time.RFC3339), f.Handler, f.Attempt, strings.ReplaceAll(f.Error, "\n", "\n  "))
	}
	if len(l.Headers) > 0 {
		fmt.Fprintln(s.out)
	}
	for name, values := range l.Headers {
		fmt.Fprintf(s.out, "%s: %s\n", name, strings.Join(values, ", "))
	}
	switch {
	case l.Body != nil:
		fmt.Fprintf(s.out, "\n%s\n", *l.Body)
	case l.BodyBase64 != "":
		fmt.Fprintf(s.out, "\n%d bytes that are no text: --json shows them in base64\n", l.Bytes)
	}
	if l.Truncated {
		fmt.Fprintf(s.err, "the body has %d bytes; this is the beginning\n", l.Bytes)
	}
	return nil
}

// manyLetters says which dead letters to change: some by id, or all that a filter
// selects.
type manyLetters struct {
	operatorFlags
	letterFilter
	IDs    []string `arg:"" optional:"" name:"id" help:"The ids of single dead letters."`
	All    bool     `env:"-" help:"All that --chain, --type, --source, --reason, --from and --until select."`
	Rate   int      `env:"-" placeholder:"N" help:"With --all: how many a second at most. Default: 200."`
	DryRun bool     `env:"-" help:"With --all: only tell how many there are."`
	Why    string   `env:"-" placeholder:"TEXT" help:"Kept with the record of what was done."`
	Yes    bool     `env:"-" short:"y" help:"Do not ask."`
	Detach bool     `env:"-" help:"With --all: do not wait for the end."`
}

func (c *manyLetters) run(ctx context.Context, s streams, kind string, extra map[string]any) error {
	if c.All == (len(c.IDs) > 0) {
		return &exitError{errors.New("want the ids of dead letters, or --all and what selects them"), exitUsage}
	}
	api, err := c.dial()
	if err != nil {
		return err
	}
	body := map[string]any{"why": c.Why}
	for name, value := range extra {
		body[name] = value
	}
	if !c.All {
		return c.each(ctx, s, api, kind, body)
	}
	body["kind"], body["filter"], body["dry_run"] = kind, c.fields(), true
	if c.Rate > 0 {
		body["rate"] = c.Rate
	}
	var found struct{ Total uint64 }
	if _, err := api.call(ctx, http.MethodPost, "/v1/jobs", body, &found); err != nil {
		return err
	}
	if found.Total == 0 || c.DryRun {
		fmt.Fprintf(s.out, "%d dead letters\n", found.Total)
		return nil
	}
	if !c.Yes {
		if err := confirm(os.Stdin, s.err, fmt.Sprintf("%s %d dead letters?", kind, found.Total)); err != nil {
			return err
		}
	}
	delete(body, "dry_run")
	return api.startJob(ctx, s, "/v1/jobs", body, c.Detach)
}

// startJob creates a job and follows it to its end.
func (c *operatorClient) startJob(ctx context.Context, s streams, path string, body any, detach bool) error {
	var j shownJob
	raw, err := c.call(ctx, http.MethodPost, path, body, &j)
	if err != nil {
		return err
	}
	switch {
	case c.JSON:
		fmt.Fprintln(s.out, string(raw))
	case detach:
		fmt.Fprintln(s.out, j.ID)
	default:
		return c.follow(ctx, s, "/v1/jobs/"+j.ID, j)
	}
	return nil
}

func (c *manyLetters) each(ctx context.Context, s streams, api *operatorClient, kind string, body map[string]any) error {
	for _, id := range c.IDs {
		var l shownLetter
		raw, err := api.call(ctx, http.MethodPost, "/v1/deadletters/"+url.PathEscape(id)+"/"+kind, body, &l)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if c.JSON {
			fmt.Fprintln(s.out, string(raw))
			continue
		}
		fmt.Fprintf(s.out, "%s %s\n", l.ID, l.State)
	}
	return nil
}

type redriveLettersCmd struct {
	manyLetters
	At string `env:"-" default:"failed" enum:"failed,start" help:"Where to begin: failed, at the step that failed, or start."`
}

// Run redrives.
func (c *redriveLettersCmd) Run(ctx context.Context, s streams) error {
	return c.run(ctx, s, "redrive", map[string]any{"at": c.At})
}

type discardLettersCmd struct{ manyLetters }

// Run discards.
func (c *discardLettersCmd) Run(ctx context.Context, s streams) error {
	return c.run(ctx, s, "discard", nil)
}
