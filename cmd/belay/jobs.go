package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"
)

type jobsCmd struct {
	List   listJobsCmd  `cmd:"" default:"withargs" help:"List the jobs, the newest first."`
	Show   showJobCmd   `cmd:"" help:"Follow one to its end."`
	Pause  pauseJobCmd  `cmd:"" help:"Pause one."`
	Resume resumeJobCmd `cmd:"" help:"Let one go on."`
	Cancel cancelJobCmd `cmd:"" help:"End one; what it has done stays done."`
}

// Help shows how it is used.
func (*jobsCmd) Help() string {
	return `Redrives and discards of many dead letters, replays, and what belay deliveries
does to many are jobs, which the console lists:

  belay jobs
  belay jobs show 0199c3a2-…
  belay jobs pause 0199c3a2-…
  belay jobs resume 0199c3a2-…
  belay jobs cancel 0199c3a2-…

A job goes on after a restart of whatever runs it.`
}

type listJobsCmd struct {
	operatorFlags
	Limit int `env:"-" default:"20" help:"How many, 500 at most."`
}

// Run lists.
func (c *listJobsCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	var page struct{ Jobs []json.RawMessage }
	if _, err := api.Call(ctx, http.MethodGet, fmt.Sprintf("/v1/jobs?limit=%d", c.Limit), nil, &page); err != nil {
		return err
	}
	l := newListing(s, c.JSON, "no jobs", "ID", "AGE", "KIND", "OF WHOM", "STATE", "DONE", "OF", "SKIPPED")
	if err := addAll(l, page.Jobs, func(j *shownJob) []string {
		return []string{j.ID, ago(j.Created), j.Kind, j.Chain + j.Filter.Chain, j.State, fmt.Sprint(j.Handled), fmt.Sprint(j.Total), fmt.Sprint(j.Skipped)}
	}); err != nil {
		return err
	}
	return l.print()
}

type oneJob struct {
	operatorFlags
	ID string `arg:"" help:"The id of the job."`
}

// job makes a request that is answered with a job.
func (c *apiClient) job(ctx context.Context, method, path string) (*shownJob, []byte, error) {
	j := new(shownJob)
	answer, err := c.Call(ctx, method, "/v1/jobs/"+path, nil, j)
	return j, answer, err
}

type showJobCmd struct{ oneJob }

// Run follows.
func (c *showJobCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	j, answer, err := api.job(ctx, http.MethodGet, url.PathEscape(c.ID))
	switch {
	case err != nil:
		return err
	case c.JSON:
		return c.tell(s, answer, "")
	}
	return api.follow(ctx, s, j)
}

func (c *oneJob) change(ctx context.Context, s streams, verb string) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	j, answer, err := api.job(ctx, http.MethodPost, url.PathEscape(c.ID)+"/"+verb)
	if err != nil {
		return err
	}
	return c.tell(s, answer, fmt.Sprintf("%s %s %s: %d of %d", j.ID, j.Kind, j.State, j.Handled, j.Total))
}

type (
	pauseJobCmd  struct{ oneJob }
	resumeJobCmd struct{ oneJob }
	cancelJobCmd struct{ oneJob }
)

// Run pauses.
func (c *pauseJobCmd) Run(ctx context.Context, s streams) error { return c.change(ctx, s, "pause") }

// Run resumes.
func (c *resumeJobCmd) Run(ctx context.Context, s streams) error { return c.change(ctx, s, "resume") }

// Run cancels.
func (c *cancelJobCmd) Run(ctx context.Context, s streams) error { return c.change(ctx, s, "cancel") }

// shownJob is what the API says of a job.
type shownJob struct {
	ID, Kind, State, Chain, Error string
	Total, Handled, Skipped       uint64
	Created, Ended                time.Time
	Filter                        struct{ Chain, Subscription string }
}

// follow prints how a job gets on until it has ended. When it is interrupted the job
// goes on without it.
func (c *apiClient) follow(ctx context.Context, s streams, j *shownJob) error {
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
		case <-tick.C:
		}
		now, _, err := c.job(ctx, http.MethodGet, j.ID)
		if ctx.Err() != nil {
			fmt.Fprintf(s.err, "\nthe job %s goes on: belay jobs show %s\n", j.ID, j.ID)
			return nil
		}
		if err != nil {
			return err
		}
		j = now
	}
	if live {
		fmt.Fprintln(s.err)
	}
	text := fmt.Sprintf("%s %s: %d of %d", j.Kind, j.State, j.Handled, j.Total)
	if !j.Ended.IsZero() {
		text += fmt.Sprintf(" in %v", j.Ended.Sub(j.Created).Round(time.Millisecond))
	}
	if j.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped", j.Skipped)
	}
	if j.Error != "" {
		text += ", the last one: " + j.Error
	}
	fmt.Fprintln(s.out, text)
	return nil
}

// jobFlags are those of the verbs that make a job.
type jobFlags struct {
	DryRun bool   `env:"-" help:"Only tell how many there are."`
	Why    string `env:"-" placeholder:"TEXT" help:"Kept with the record of what was done."`
	Yes    bool   `env:"-" short:"y" help:"Do not ask."`
	Detach bool   `env:"-" help:"Do not wait for the end."`
}

// startJob tells how much a job would work on and asks whether to go on; then it
// makes the job and follows it to its end.
func (c *apiClient) startJob(ctx context.Context, s streams, f jobFlags, path string, body map[string]any, verb, what string) error {
	body["why"], body["dry_run"] = f.Why, true
	var found struct{ Total uint64 }
	answer, err := c.Call(ctx, http.MethodPost, path, body, &found)
	if err != nil {
		return err
	}
	if found.Total == 0 || f.DryRun {
		return c.tell(s, answer, fmt.Sprintf("%d %s", found.Total, what))
	}
	if !f.Yes {
		if err := confirm(os.Stdin, s.err, fmt.Sprintf("%s %d %s?", verb, found.Total, what)); err != nil {
			return err
		}
	}
	delete(body, "dry_run")
	j := new(shownJob)
	if answer, err = c.Call(ctx, http.MethodPost, path, body, j); err != nil {
		return err
	}
	if c.JSON || f.Detach {
		return c.tell(s, answer, j.ID)
	}
	return c.follow(ctx, s, j)
}
