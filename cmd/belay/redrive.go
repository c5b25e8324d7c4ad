package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// manyLetters says which dead letters to change: some by id, or all that a filter
// selects, in a job.
type manyLetters struct {
	operatorFlags
	letterFilter
	IDs  []string `arg:"" optional:"" name:"id" help:"The ids of single dead letters."`
	All  bool     `env:"-" help:"All that --chain, --type, --source, --reason, --from and --until select."`
	Rate int      `env:"-" placeholder:"N" help:"With --all: how many a second at most. Default: 200."`
	jobFlags
}

func (c *manyLetters) run(ctx context.Context, s streams, kind string, body map[string]any) error {
	switch {
	case c.All == (len(c.IDs) > 0):
		return &exitError{errors.New("want the ids of dead letters, or --all and what selects them"), exitUsage}
	case c.DryRun && !c.All:
		return &exitError{errors.New("--dry-run goes with --all: without it, the ids say which dead letters are meant"), exitUsage}
	}
	api, err := c.dial()
	if err != nil {
		return err
	}
	if !c.All {
		body["why"] = c.Why
		return c.each(ctx, s, api, kind, body)
	}
	body["kind"], body["filter"] = kind, c.fields()
	if c.Rate > 0 {
		body["rate"] = c.Rate
	}
	return api.startJob(ctx, s, c.jobFlags, "/v1/jobs", body, kind, "dead letters")
}

func (c *manyLetters) each(ctx context.Context, s streams, api *apiClient, kind string, body map[string]any) error {
	for _, id := range c.IDs {
		var l shownLetter
		answer, err := api.Call(ctx, http.MethodPost, "/v1/deadletters/"+url.PathEscape(id)+"/"+kind, body, &l)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if err := c.tell(s, answer, l.ID+" "+l.State); err != nil {
			return err
		}
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
	return c.run(ctx, s, "discard", map[string]any{})
}
