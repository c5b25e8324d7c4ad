package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
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
	return `Redrives and discards of many dead letters, and replays, are jobs of the console:

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
	if _, err := api.call(ctx, http.MethodGet, fmt.Sprintf("/v1/jobs?limit=%d", c.Limit), nil, &page); err != nil {
		return err
	}
	lines := [][]string{{"ID", "AGE", "KIND", "CHAIN", "STATE", "DONE", "OF", "SKIPPED"}}
	for _, raw := range page.Jobs {
		if c.JSON {
			fmt.Fprintln(s.out, string(raw))
			continue
		}
		var j struct {
			shownJob
			Filter struct{ Chain string }
		}
		if err := json.Unmarshal(raw, &j); err != nil {
			return fmt.Errorf("read a job: %w", err)
		}
		lines = append(lines, []string{j.ID, ago(j.Created), j.Kind, j.Chain + j.Filter.Chain, j.State, fmt.Sprint(j.Handled), fmt.Sprint(j.Total), fmt.Sprint(j.Skipped)})
	}
	if c.JSON {
		return nil
	}
	if len(lines) == 1 {
		fmt.Fprintln(s.out, "no jobs")
		return nil
	}
	return table(s.out, lines)
}

type oneJob struct {
	operatorFlags
	ID string `arg:"" help:"The id of the job."`
}

type showJobCmd struct{ oneJob }

// Run follows.
func (c *showJobCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	path := "/v1/jobs/" + url.PathEscape(c.ID)
	var j shownJob
	raw, err := api.call(ctx, http.MethodGet, path, nil, &j)
	if err != nil {
		return err
	}
	if c.JSON {
		fmt.Fprintln(s.out, string(raw))
		return nil
	}
	return api.follow(ctx, s, path, j)
}

func (c *oneJob) change(ctx context.Context, s streams, verb string) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	var j shownJob
	raw, err := api.call(ctx, http.MethodPost, "/v1/jobs/"+url.PathEscape(c.ID)+"/"+verb, nil, &j)
	if err != nil {
		return err
	}
	if c.JSON {
		fmt.Fprintln(s.out, string(raw))
		return nil
	}
	fmt.Fprintf(s.out, "%s %s %s: %d of %d\n", j.ID, j.Kind, j.State, j.Handled, j.Total)
	return nil
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
