package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

type chainsCmd struct {
	List   listChainsCmd  `cmd:"" default:"withargs" help:"List the chains, and what they have to do."`
	Pause  pauseChainCmd  `cmd:"" help:"Let a chain take no more events; what runs finishes."`
	Resume resumeChainCmd `cmd:"" help:"Let a paused chain go on."`
	Delete deleteChainCmd `cmd:"" help:"Remove a chain that no worker runs, and its backlog."`
}

// Help shows how it is used.
func (*chainsCmd) Help() string {
	return `What each chain has to do, as the broker knows it:

  belay chains
  belay chains pause orders --why 'the database is being moved'
  belay chains resume orders
  belay chains delete old-orders

A pause outlives restarts; all workers follow within a second. A chain that is
unattended is run by no worker: it was taken out of the configuration, or its
workers are down. Its events wait, and are kept for it, until it is put back under
the same name or deleted.`
}

// shownSwitch is who has switched something.
type shownSwitch struct {
	By, Why string
	At      time.Time
}

func (s *shownSwitch) text() string {
	if s == nil {
		return ""
	}
	text := "by " + s.By + " " + ago(s.At) + " ago"
	if s.Why != "" {
		text += ": " + s.Why
	}
	return text
}

// shownChain is what the API says of a chain.
type shownChain struct {
	Name, State string
	Ordered     bool
	Paused      *shownSwitch
	Backlog     uint64
	Held        int
	Parked      uint64
	Deadletters uint64
	Oldest      time.Time
}

func (c shownChain) note() string {
	events := c.Backlog + uint64(c.Held) + c.Parked
	if c.State != "unattended" {
		return c.Paused.text()
	}
	return fmt.Sprintf("no worker runs it: put it back, or belay chains delete %s gives its %d events up", c.Name, events)
}

type listChainsCmd struct{ operatorFlags }

// Run lists.
func (c *listChainsCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	var answer struct{ Chains []json.RawMessage }
	if _, err := api.Call(ctx, http.MethodGet, "/v1/chains", nil, &answer); err != nil {
		return err
	}
	l := newListing(s, c.JSON, "no chains: no worker has run yet", "CHAIN", "STATE", "BACKLOG", "HELD", "PARKED", "DEAD", "OLDEST", "")
	if err := addAll(l, answer.Chains, func(v *shownChain) []string {
		return []string{
			v.Name, v.State, strconv.FormatUint(v.Backlog, 10), strconv.Itoa(v.Held), strconv.FormatUint(v.Parked, 10),
			strconv.FormatUint(v.Deadletters, 10), ago(v.Oldest), v.note(),
		}
	}); err != nil {
		return err
	}
	return l.print()
}

// oneChain names a chain.
type oneChain struct {
	operatorFlags
	Name string `arg:"" help:"The chain."`
	Why  string `env:"-" placeholder:"TEXT" help:"The reason, for the log and the others."`
}

func (c *oneChain) post(ctx context.Context, s streams, verb, done string) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	return api.flip(ctx, s, "/v1/chains/"+url.PathEscape(c.Name)+"/"+verb, c.Why, "chain "+c.Name+" "+done)
}

type pauseChainCmd struct{ oneChain }

// Run pauses.
func (c *pauseChainCmd) Run(ctx context.Context, s streams) error {
	return c.post(ctx, s, "pause", "is paused: what runs finishes, and nothing is begun until belay chains resume "+c.Name)
}

type resumeChainCmd struct{ oneChain }

// Run resumes.
func (c *resumeChainCmd) Run(ctx context.Context, s streams) error {
	return c.post(ctx, s, "resume", "goes on")
}

type deleteChainCmd struct {
	operatorFlags
	Name string `arg:"" help:"The chain."`
	Yes  bool   `env:"-" help:"Do not ask."`
}

// Run deletes.
func (c *deleteChainCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	if !c.Yes {
		question := fmt.Sprintf("delete the chain %s? What waits for it, or is parked, is not handled by it then; its dead letters and its history stay", c.Name)
		if err := confirm(os.Stdin, s.err, question); err != nil {
			return err
		}
	}
	var v shownChain
	answer, err := api.Call(ctx, http.MethodDelete, "/v1/chains/"+url.PathEscape(c.Name), nil, &v)
	if err != nil {
		return err
	}
	return c.tell(s, answer, fmt.Sprintf("chain %s deleted: %d events waited for it, %d were parked", v.Name, v.Backlog+uint64(v.Held), v.Parked))
}
