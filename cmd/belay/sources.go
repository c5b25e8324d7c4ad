package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

type sourcesCmd struct {
	List      listSourcesCmd     `cmd:"" default:"withargs" help:"List the sources, and who has switched one off."`
	SwitchOff switchOffSourceCmd `cmd:"" help:"Answer the webhooks of a source 410."`
	Resume    resumeSourceCmd    `cmd:"" help:"Receive the webhooks of a source again."`
}

// Help shows how it is used.
func (*sourcesCmd) Help() string {
	return `A source that is switched off is answered 410 Gone at the door, which tells most
providers to stop. Operators switch it off, and a handler whose Response is 410
where the source says gone: switch_off:

  belay sources
  belay sources switch-off github/old --why 'the project is archived'
  belay sources resume github/old`
}

// shownSource is what the API says of a source.
type shownSource struct {
	Receiver, ID string
	Stored       uint64
	Off          *shownSwitch
}

type listSourcesCmd struct{ operatorFlags }

// Run lists.
func (c *listSourcesCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	var answer struct{ Sources []json.RawMessage }
	if _, err := api.Call(ctx, http.MethodGet, "/v1/sources", nil, &answer); err != nil {
		return err
	}
	l := newListing(s, c.JSON, "no sources", "SOURCE", "STORED", "SWITCHED OFF")
	if err := addAll(l, answer.Sources, func(v *shownSource) []string {
		return []string{v.Receiver + "/" + v.ID, strconv.FormatUint(v.Stored, 10), v.Off.text()}
	}); err != nil {
		return err
	}
	return l.print()
}

// oneSource names a source.
type oneSource struct {
	operatorFlags
	Name string `arg:"" help:"The source: github/eu, or github for github/default."`
	Why  string `env:"-" placeholder:"TEXT" help:"The reason, for the log and the others."`
}

func (c *oneSource) post(ctx context.Context, s streams, verb, done string) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	receiver, id, one := strings.Cut(c.Name, "/")
	if !one {
		id = "default"
	}
	if receiver == "" || id == "" || strings.Contains(id, "/") {
		return &exitError{errors.New("want a source such as github/eu"), exitUsage}
	}
	return api.flip(ctx, s, "/v1/sources/"+url.PathEscape(receiver)+"/"+url.PathEscape(id)+"/"+verb, c.Why, "source "+receiver+"/"+id+" "+done)
}

type switchOffSourceCmd struct{ oneSource }

// Run switches off.
func (c *switchOffSourceCmd) Run(ctx context.Context, s streams) error {
	return c.post(ctx, s, "switch-off", "is switched off: its webhooks are answered 410")
}

type resumeSourceCmd struct{ oneSource }

// Run resumes.
func (c *resumeSourceCmd) Run(ctx context.Context, s streams) error {
	return c.post(ctx, s, "resume", "is received again")
}
