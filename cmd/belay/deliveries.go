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

	"github.com/belay-hooks/belay/pkg/client"
)

type deliveriesCmd struct {
	List    listDeliveriesCmd    `cmd:"" default:"withargs" help:"List deliveries, the newest first."`
	Show    showDeliveryCmd      `cmd:"" help:"Show one: every attempt, what was answered, the body."`
	Retry   retryDeliveriesCmd   `cmd:"" help:"Make the next attempt now, also of what is dead or was delivered."`
	Cancel  cancelDeliveriesCmd  `cmd:"" help:"Attempt what waits no more."`
	Redrive redriveDeliveriesCmd `cmd:"" help:"Put back many that are dead."`
	Recover recoverDeliveriesCmd `cmd:"" help:"Send a subscription what it has missed."`
}

// Help shows how it is used.
func (*deliveriesCmd) Help() string {
	return `What became of each notification, for each subscriber:

  belay deliveries
  belay deliveries --state pending
  belay deliveries --subscription sub_… --type 'deploy.*' --from 24h
  belay deliveries show msg_…
  belay deliveries retry msg_…
  belay deliveries cancel msg_…
  belay deliveries redrive --all --subscription sub_… --why 'they are back'
  belay deliveries recover sub_… --since 48h

The id is the webhook-id that the subscriber got. Many are redriven, or recovered,
by a job of the outbox, which goes on if this command, or the outbox, ends.`
}

// deliveryFilter selects deliveries.
type deliveryFilter struct {
	Subscription string `env:"-" placeholder:"ID" help:"To this subscription."`
	Notification string `env:"-" placeholder:"ID" help:"Of the notification with this id."`
	Type         string `env:"-" placeholder:"PATTERN" help:"Of this type: deploy.*."`
	Reason       string `env:"-" placeholder:"REASON" help:"For this reason: accepted, refused, server_error, timeout …"`
	From         when   `env:"-" placeholder:"TIME" help:"Ended at this time or later (made, if they wait): 2026-11-22, 2026-11-22T10:00:00Z, or 24h ago."`
	Until        when   `env:"-" placeholder:"TIME" help:"Ended before this time."`
}

func (f deliveryFilter) filter() client.DeliveryFilter {
	return client.DeliveryFilter{
		Subscription: f.Subscription, Notification: f.Notification, Type: f.Type, Reason: f.Reason, From: f.From.Time, Until: f.Until.Time,
	}
}

type listDeliveriesCmd struct {
	outboxFlags
	deliveryFilter
	State string `env:"-" placeholder:"STATE" help:"pending, delivered, gone, dead or cancelled. Default: all that were attempted." default:"" enum:",pending,delivered,gone,dead,cancelled"`
	Limit int    `env:"-" default:"50" help:"How many."`
}

// Run lists.
func (c *listDeliveriesCmd) Run(ctx context.Context, s streams) error {
	api, err := c.answers()
	if err != nil {
		return err
	}
	q := c.filter().Query()
	if c.State != "" {
		q.Set("state", c.State)
	}
	l := newListing(s, c.JSON, "no deliveries", "ID", "AGE", "TYPE", "SUBSCRIPTION", "STATE", "ATTEMPTS", "REASON", "NEXT")
	return pages(ctx, l, api, client.DeliveriesPath, "deliveries", q, c.Limit, deliveryColumns)
}

func deliveryColumns(d *client.Delivery) []string {
	return []string{d.ID, ago(d.Created), line(d.Type, 40), d.Subscription, d.State, strconv.Itoa(d.Attempts), reasonOf(d.Reason, d.Status), nextOf(d)}
}

// reasonOf is a reason with the status that was answered: server_error 500.
func reasonOf(reason string, status int) string {
	if status == 0 {
		return reason
	}
	return reason + " " + strconv.Itoa(status)
}

// nextOf says when a delivery is due, and what it waits for.
func nextOf(d *client.Delivery) string {
	switch {
	case d.State != "pending":
		return "-"
	case d.Next.IsZero():
		return "now"
	}
	return fmt.Sprintf("in %v (%s)", time.Until(d.Next).Round(time.Second), d.WaitsFor)
}

type showDeliveryCmd struct {
	outboxFlags
	ID string `arg:"" help:"The id of the delivery: the webhook-id of its requests."`
}

// Run shows.
func (c *showDeliveryCmd) Run(ctx context.Context, s streams) error {
	api, err := c.answers()
	if err != nil {
		return err
	}
	var d client.Delivery
	answer, err := api.Call(ctx, http.MethodGet, client.DeliveriesPath+"/"+url.PathEscape(c.ID), nil, &d)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.tell(s, answer, "")
	}
	lines := [][]string{{"delivery", d.ID}, {"state", d.State}, {"subscription", d.Subscription}, {"notification", d.Notification},
		{"source", d.Source}, {"type", d.Type}, {"created", d.Created.Local().Format(time.RFC3339)}, {"attempts", strconv.Itoa(d.Attempts)}}
	if d.State == "pending" {
		lines = append(lines, []string{"next", nextOf(&d)})
	}
	if err := table(s.out, lines); err != nil {
		return err
	}
	for _, a := range d.History {
		printAttempt(s, &a)
	}
	(&shownMessage{Body: d.Body, BodyBase64: d.BodyBase64, Truncated: d.Truncated}).print(s)
	return nil
}

func printAttempt(s streams, a *client.Attempt) {
	text := fmt.Sprintf("\n%s  attempt %d: %s, %s", a.At.Local().Format(time.RFC3339), a.Attempt, a.Verdict, a.Reason)
	if a.By != "" {
		text += ", ordered by " + a.By
	}
	if !a.Unsent {
		text += fmt.Sprintf(", %.1f ms", a.Milliseconds)
	}
	if a.Detail != "" {
		text += "\n  " + a.Detail
	}
	if r := a.Response; r != nil {
		text += fmt.Sprintf("\n  %d %s", r.Status, line(r.Body, 200))
	}
	fmt.Fprintln(s.out, text)
}

// someDeliveries are named by their ids.
type someDeliveries struct {
	outboxFlags
	IDs []string `arg:"" name:"id" help:"The ids of the deliveries."`
}

func (c *someDeliveries) each(ctx context.Context, s streams, verb, done string) error {
	api, err := c.answers()
	if err != nil {
		return err
	}
	for _, id := range c.IDs {
		answer, err := api.Call(ctx, http.MethodPost, client.DeliveriesPath+"/"+url.PathEscape(id)+"/"+verb, nil, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if err := c.tell(s, answer, id+" "+done); err != nil {
			return err
		}
	}
	return nil
}

type retryDeliveriesCmd struct{ someDeliveries }

// Run retries.
func (c *retryDeliveriesCmd) Run(ctx context.Context, s streams) error {
	return c.each(ctx, s, "retry", "is attempted now")
}

type cancelDeliveriesCmd struct{ someDeliveries }

// Run cancels.
func (c *cancelDeliveriesCmd) Run(ctx context.Context, s streams) error {
	return c.each(ctx, s, "cancel", "is attempted no more")
}

// manyDeliveries are worked on by a job.
type manyDeliveries struct {
	outboxFlags
	Rate int `env:"-" placeholder:"N" help:"How many a second at most. Default: 200."`
	jobFlags
}

func (c *manyDeliveries) start(ctx context.Context, s streams, kind string, f client.DeliveryFilter, verb, what string) error {
	api, err := c.answers()
	if err != nil {
		return err
	}
	body := map[string]any{"kind": kind, "filter": f}
	if c.Rate > 0 {
		body["rate"] = c.Rate
	}
	return api.startJob(ctx, s, c.jobFlags, "/v1/jobs", body, verb, what)
}

type redriveDeliveriesCmd struct {
	manyDeliveries
	deliveryFilter
	All bool `env:"-" help:"All that are dead and --subscription, --type, --reason … select."`
}

// Run redrives.
func (c *redriveDeliveriesCmd) Run(ctx context.Context, s streams) error {
	f := c.filter()
	if !c.All && strings.Join([]string{f.Subscription, f.Notification, f.Type, f.Reason}, "") == "" && f.From.IsZero() && f.Until.IsZero() {
		return &exitError{errors.New("want what selects them, such as --subscription, or --all; a single one is retried by belay deliveries retry"), exitUsage}
	}
	return c.start(ctx, s, "redeliver", f, "redrive", "dead deliveries")
}

type recoverDeliveriesCmd struct {
	manyDeliveries
	Subscription string `arg:"" help:"The id of the subscription."`
	Since        when   `env:"-" required:"" placeholder:"TIME" help:"Since when it has missed them: 2026-11-22, 2026-11-22T10:00:00Z, or 24h ago."`
}

// Run recovers.
func (c *recoverDeliveriesCmd) Run(ctx context.Context, s streams) error {
	f := client.DeliveryFilter{Subscription: c.Subscription, From: c.Since.Time}
	return c.start(ctx, s, "recover", f, "look through", "notifications")
}
