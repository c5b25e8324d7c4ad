package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

type eventsCmd struct {
	Show showEventCmd `cmd:"" help:"Show a stored event, and where each chain stands in it."`
}

// Help shows how it is used.
func (*eventsCmd) Help() string {
	return `  belay events show github/default/72d3162e-cc78-11e3-81ab-4c9367dc0958
  belay events show 72d3162e-cc78-11e3-81ab-4c9367dc0958 --source github/default

The id is that of the provider's delivery, which Belay answers as Belay-Event-Id.`
}

// oneEvent names an event.
type oneEvent struct {
	operatorFlags
	ID       string `arg:"" help:"The event: receiver/source/id, or the id alone with --source."`
	Source   string `env:"-" placeholder:"SOURCE" help:"The source that it came in by: github/default."`
	EventKey string `env:"-" placeholder:"KEY" help:"Its key, where its source has one: finds it sooner among many."`
}

// path is where the API has the event.
func (c *oneEvent) path() (string, error) {
	whole := c.ID
	if c.Source != "" {
		whole = c.Source + "/" + c.ID
	}
	parts := strings.SplitN(whole, "/", 3)
	if len(parts) != 3 {
		return "", &exitError{errors.New("want receiver/source/id, such as github/default/72d3162e, or the id and --source github/default"), exitUsage}
	}
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "/v1/events/" + strings.Join(parts, "/"), nil
}

type showEventCmd struct{ oneEvent }

// Run shows.
func (c *showEventCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	path, err := c.path()
	if err != nil {
		return err
	}
	if c.EventKey != "" {
		path += "?key=" + url.QueryEscape(c.EventKey)
	}
	var e struct {
		ID, Source, Type, Key string
		Stored                time.Time
		Shard                 int
		Seq                   uint64
		ContentType           string `json:"content_type"`
		shownMessage
		Chains []struct {
			Chain, State, Handler, Error string
			Run, Attempts                int
			Handlers, Deadletters        []string
			Until                        time.Time
		}
	}
	answer, err := api.Call(ctx, http.MethodGet, path, nil, &e)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.tell(s, answer, "")
	}
	if err := table(s.out, [][]string{
		{"event", e.ID}, {"source", e.Source}, {"type", e.Type}, {"key", e.Key}, {"content type", e.ContentType},
		{"stored", e.Stored.Local().Format(time.RFC3339Nano)}, {"place", fmt.Sprintf("%d.%d", e.Shard, e.Seq)},
	}); err != nil {
		return err
	}
	lines := [][]string{{"", "", "", "", ""}, {"CHAIN", "RUN", "STATE", "ATTEMPTS", "DETAIL"}}
	for _, v := range e.Chains {
		detail := strings.Join(v.Handlers, ", ")
		switch {
		case len(v.Deadletters) > 0:
			detail = "dead letter " + strings.Join(v.Deadletters, ", ")
		case v.State == "retrying":
			detail = v.Handler + " again at " + v.Until.Local().Format(time.TimeOnly) + ": " + line(v.Error, 60)
		}
		lines = append(lines, []string{v.Chain, strconv.Itoa(v.Run), v.State, strconv.Itoa(v.Attempts), detail})
	}
	if err := table(s.out, lines); err != nil {
		return err
	}
	e.print(s)
	return nil
}
