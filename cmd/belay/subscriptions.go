package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/client"
)

type subscriptionsCmd struct {
	List   listSubscriptionsCmd  `cmd:"" default:"withargs" help:"List them."`
	Create createSubscriptionCmd `cmd:"" help:"Create one, and print its secret."`
	Show   showSubscriptionCmd   `cmd:"" help:"Show one."`
	Health healthSubscriptionCmd `cmd:"" help:"Tell how its endpoint does."`
	Update updateSubscriptionCmd `cmd:"" help:"Change some settings of one."`
	Pause  pauseSubscriptionCmd  `cmd:"" help:"Pause one: it gets nothing of what is notified meanwhile."`
	Resume resumeSubscriptionCmd `cmd:"" help:"Resume one that is paused or was disabled."`
	Rotate rotateSubscriptionCmd `cmd:"" help:"Give one a new secret, and print it."`
	Test   testSubscriptionCmd   `cmd:"" help:"Make one attempt now, and tell what came of it."`
	Verify verifySubscriptionCmd `cmd:"" help:"Ask the subscriber whether it wants webhooks."`
	Delete deleteSubscriptionCmd `cmd:"" help:"Delete one."`
}

// Help shows how it is used.
func (*subscriptionsCmd) Help() string {
	return `Who is told of notifications:

  belay subscriptions create https://example.com/hook --filter 'deploy.*'
  belay subscriptions test sub_…
  belay subscriptions update sub_… --rate-limit 5 --when 'body.amount > 100'
  belay subscriptions update sub_… --unset when
  belay subscriptions rotate sub_… --overlap 48h
  belay subscriptions health sub_…`
}

// settingFlags are the settings of a subscription.
type settingFlags struct {
	Description string            `env:"-" placeholder:"TEXT" help:"For people."`
	Filter      []string          `env:"-" placeholder:"PATTERN" help:"Event types: deploy.*, *. Several times, or separated by commas. Default: all."`
	When        string            `env:"-" placeholder:"CEL" help:"A condition that events must meet besides: body.amount > 100."`
	Header      map[string]string `env:"-" placeholder:"NAME=VALUE" help:"Sent with every delivery. Several times."`
	Property    map[string]string `env:"-" placeholder:"NAME=TEXT" help:"Sent in bodies of the shape aspnet. Several times."`
	Body        string            `env:"-" placeholder:"SHAPE" help:"raw, aspnet or cloudevents."`
	RateLimit   float64           `env:"-" placeholder:"N" help:"Attempts a second at most."`
	Concurrency int               `env:"-" placeholder:"N" help:"Attempts at once at most."`
	Schedule    []string          `env:"-" placeholder:"WAITS" help:"The waits after failed attempts: 5s,5m,2h."`
	Timeout     string            `env:"-" placeholder:"DURATION" help:"Of one attempt."`
}

// patch has the settings that are given.
func (f settingFlags) patch() map[string]any {
	p := map[string]any{}
	set := func(name string, given bool, value any) {
		if given {
			p[name] = value
		}
	}
	set("description", f.Description != "", f.Description)
	set("filters", len(f.Filter) > 0, f.Filter)
	set("when", f.When != "", f.When)
	set("headers", len(f.Header) > 0, f.Header)
	set("properties", len(f.Property) > 0, f.Property)
	set("body", f.Body != "", f.Body)
	set("rate_limit", f.RateLimit != 0, f.RateLimit)
	set("concurrency", f.Concurrency != 0, f.Concurrency)
	set("schedule", len(f.Schedule) > 0, f.Schedule)
	set("timeout", f.Timeout != "", f.Timeout)
	return p
}

type listSubscriptionsCmd struct{ outboxFlags }

// Run lists.
func (c *listSubscriptionsCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	l := newListing(s, c.JSON, "no subscriptions", "ID", "STATE", "FILTERS", "URL", "DESCRIPTION")
	for sub, err := range api.Subscriptions(ctx) {
		if err != nil {
			return err
		}
		if err := l.add(sub, sub.ID, stateOf(sub), line(strings.Join(sub.Filters, ","), 40), line(sub.URL, 60), line(sub.Description, 40)); err != nil {
			return err
		}
	}
	return l.print()
}

func stateOf(s *client.Subscription) string {
	switch {
	case s.Disabled != nil:
		return "disabled: " + s.Disabled.Reason
	case s.Paused:
		return "paused"
	}
	return "on"
}

// print shows a subscription, and its secret where that was just made.
func (f outboxFlags) print(s streams, sub *client.Subscription) error {
	if f.JSON {
		return jsonLine(s, sub)
	}
	lines := [][]string{{"subscription", sub.ID}, {"tenant", sub.Tenant}, {"state", stateOf(sub)}, {"url", sub.URL}, {"filters", strings.Join(sub.Filters, ", ")}}
	add := func(name, value string) {
		if value != "" && value != "0" {
			lines = append(lines, []string{name, value})
		}
	}
	add("private filters", strings.Join(sub.PrivateFilters, ", "))
	add("when", sub.When)
	add("description", sub.Description)
	for name := range sub.Headers {
		add("header", name)
	}
	for name, value := range sub.Properties {
		add("property", name+" = "+string(value))
	}
	add("body", sub.Body)
	add("signing", sub.Signing)
	add("rate limit", strconv.FormatFloat(sub.RateLimit, 'f', -1, 64))
	add("concurrency", strconv.Itoa(sub.Concurrency))
	add("schedule", strings.Join(sub.Schedule, ", "))
	add("timeout", sub.Timeout)
	add("created", sub.Created.Local().Format(time.RFC3339))
	for _, secret := range sub.Secrets {
		text := "since " + secret.Created.Local().Format(time.RFC3339)
		if !secret.Expires.IsZero() {
			text += " until " + secret.Expires.Local().Format(time.RFC3339)
		}
		add("secret in use", strings.TrimSpace(text+" "+secret.PublicKey))
	}
	add("secret", sub.Secret)
	return table(s.out, lines)
}

type createSubscriptionCmd struct {
	outboxFlags
	To      string `arg:"" name:"url" help:"Where deliveries are posted."`
	Signing string `env:"-" placeholder:"SCHEME" help:"v1, v1a, ms-signature or x-hub-signature-256."`
	Paused  bool   `env:"-" help:"Begin paused."`
	settingFlags
}

// Run creates.
func (c *createSubscriptionCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	properties := map[string]json.RawMessage{}
	for name, text := range c.Property {
		if properties[name], err = json.Marshal(text); err != nil {
			return err
		}
	}
	sub, err := api.Create(ctx, client.Settings{
		URL: c.To, Description: c.Description, Filters: c.Filter, When: c.When, Headers: c.Header, Properties: properties, Body: c.Body,
		Signing: c.Signing, Paused: c.Paused, RateLimit: c.RateLimit, Concurrency: c.Concurrency, Schedule: c.Schedule, Timeout: c.Timeout,
	})
	if err != nil {
		return err
	}
	return c.print(s, sub)
}

// oneSubscription names a subscription.
type oneSubscription struct {
	outboxFlags
	ID string `arg:"" help:"The id of the subscription."`
}

// with calls the API and shows the subscription that it answers with.
func (c oneSubscription) with(s streams, call func(*client.Client) (*client.Subscription, error)) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	sub, err := call(api)
	if err != nil {
		return err
	}
	return c.print(s, sub)
}

type showSubscriptionCmd struct{ oneSubscription }

// Run shows.
func (c *showSubscriptionCmd) Run(ctx context.Context, s streams) error {
	return c.with(s, func(api *client.Client) (*client.Subscription, error) { return api.Get(ctx, c.ID) })
}

type healthSubscriptionCmd struct{ oneSubscription }

// Run tells.
func (c *healthSubscriptionCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	h, err := api.Health(ctx, c.ID)
	if err != nil {
		return err
	}
	if c.JSON {
		return jsonLine(s, h)
	}
	lines := [][]string{{"state", h.State}, {"last 24 h", fmt.Sprintf("%d delivered, %d failed", h.Delivered, h.Failed)}}
	add := func(name string, at time.Time) {
		if !at.IsZero() {
			lines = append(lines, []string{name, at.Local().Format(time.RFC3339)})
		}
	}
	add("last delivered", h.LastDelivered)
	add("failing since", h.FailingSince)
	add(map[bool]string{true: "disabled", false: "disabled if so until"}[h.State == "disabled"], h.DisabledAt)
	if err := table(s.out, lines); err != nil || h.LastFailure == nil {
		return err
	}
	printAttempt(s, h.LastFailure)
	return nil
}

type updateSubscriptionCmd struct {
	oneSubscription
	To    string   `name:"url" env:"-" placeholder:"URL" help:"Another URL."`
	Unset []string `env:"-" placeholder:"SETTING" help:"Settings to put back to what they are by default, as the API names them: when, headers, rate_limit."`
	settingFlags
}

// Run updates.
func (c *updateSubscriptionCmd) Run(ctx context.Context, s streams) error {
	patch := c.patch()
	if c.To != "" {
		patch["url"] = c.To
	}
	for _, name := range c.Unset {
		patch[name] = nil
	}
	if len(patch) == 0 {
		return &exitError{errors.New("want what to change: --url, --filter, --when …, or --unset"), exitUsage}
	}
	return c.with(s, func(api *client.Client) (*client.Subscription, error) { return api.Patch(ctx, c.ID, patch) })
}

type pauseSubscriptionCmd struct{ oneSubscription }

// Run pauses.
func (c *pauseSubscriptionCmd) Run(ctx context.Context, s streams) error {
	return c.with(s, func(api *client.Client) (*client.Subscription, error) { return api.Pause(ctx, c.ID) })
}

type resumeSubscriptionCmd struct{ oneSubscription }

// Run resumes.
func (c *resumeSubscriptionCmd) Run(ctx context.Context, s streams) error {
	return c.with(s, func(api *client.Client) (*client.Subscription, error) { return api.Resume(ctx, c.ID) })
}

type rotateSubscriptionCmd struct {
	oneSubscription
	Overlap time.Duration `env:"-" default:"24h" help:"How long the old secret is signed with too."`
}

// Run rotates.
func (c *rotateSubscriptionCmd) Run(ctx context.Context, s streams) error {
	return c.with(s, func(api *client.Client) (*client.Subscription, error) { return api.Rotate(ctx, c.ID, c.Overlap) })
}

type testSubscriptionCmd struct {
	oneSubscription
	Type string `env:"-" placeholder:"TYPE" help:"The event type. Default: belay.test."`
	Data string `env:"-" placeholder:"JSON" help:"The data: JSON, @file, or @- for the standard input."`
}

// Run tests. It fails where the subscriber does not answer 2xx.
func (c *testSubscriptionCmd) Run(ctx context.Context, s streams) error {
	data, err := dataFlag(c.Data)
	if err != nil {
		return err
	}
	api, err := c.dial()
	if err != nil {
		return err
	}
	t, err := api.Test(ctx, c.ID, c.Type, data)
	if err != nil {
		return err
	}
	if c.JSON {
		err = jsonLine(s, t)
	} else {
		status := ""
		if t.Status > 0 {
			status = strconv.Itoa(t.Status) + " "
		}
		_, err = fmt.Fprintln(s.out, strings.TrimSpace(fmt.Sprintf("%s%s in %.1f ms %s\n%s", status, t.Reason, t.Milliseconds, t.Detail, t.Body)))
	}
	if err == nil && (t.Status < 200 || t.Status > 299) {
		err = &exitError{errors.New("the subscriber did not accept it"), exitFailed}
	}
	return err
}

type verifySubscriptionCmd struct{ oneSubscription }

// Run verifies.
func (c *verifySubscriptionCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	if err := api.Verify(ctx, c.ID); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "the subscriber wants webhooks")
	return nil
}

type deleteSubscriptionCmd struct{ oneSubscription }

// Run deletes.
func (c *deleteSubscriptionCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	if err := api.Delete(ctx, c.ID); err != nil {
		return err
	}
	fmt.Fprintln(s.out, c.ID, "deleted")
	return nil
}
