package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
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
	Reason string `env:"-" placeholder:"REASON" help:"For this reason: attempts_exhausted, too_old, handler_gave_up, condition_failed, crashed, unreadable, expired or values_too_large." default:"" enum:",attempts_exhausted,too_old,handler_gave_up,condition_failed,crashed,unreadable,expired,values_too_large"`
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
	Failures []struct {
		Handler string
		Attempt int
		Time    time.Time
		Error   string
	}
	shownMessage
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
	head := []string{"ID", "AGE", "TYPE", "EVENT", "HANDLER", "REASON", "ERROR"}
	if c.Closed {
		head = []string{"ID", "AGE", "TYPE", "EVENT", "STATE", "BY", "WHY"}
	}
	l := newListing(s, c.JSON, "no dead letters", head...)
	return pages(ctx, l, api, "/v1/deadletters", "deadletters", q, c.Limit, (*shownLetter).columns)
}

func (l *shownLetter) columns() []string {
	kind, id := "-", "-"
	if l.Event != nil {
		kind, id = l.Event.Type, l.Event.ID
	}
	c := []string{l.ID, ago(l.Died), line(kind, 40), line(id, 40)}
	if l.Closed != nil {
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
	answer, err := api.Call(ctx, http.MethodGet, "/v1/deadletters/"+url.PathEscape(c.ID), nil, &l)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.tell(s, answer, "")
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
	l.print(s)
	return nil
}
