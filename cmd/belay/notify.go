package main

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/belay-hooks/belay/pkg/client"
)

type notifyCmd struct {
	outboxFlags
	Type   string `arg:"" help:"The event type: deploy.done."`
	Data   string `env:"-" placeholder:"JSON" help:"The data: JSON, @file, or @- for the standard input."`
	ID     string `env:"-" placeholder:"ID" help:"The id: the same source and id are sent once. Default: a new one."`
	When   string `env:"-" placeholder:"CEL" help:"Only subscriptions that meet it: subscription.properties.plan == 'pro'."`
	Source string `env:"-" default:"/belay/notify" help:"Where the event comes from, a URI."`
}

// Help shows how it is used.
func (*notifyCmd) Help() string {
	return `Tell every subscriber who wants it of an event:

  belay notify deploy.done --data '{"version": "1.4"}'
  belay notify deploy.done --data @deploy.json --id deploy-1207
  belay notify invoice.paid --tenant acme --data @-
  belay notify maintenance.planned --tenant '*' --when "subscription.properties.region == 'eu'"

The operator's key may notify the subscribers of every tenant: --tenant '*'.`
}

// Run notifies.
func (c *notifyCmd) Run(ctx context.Context, s streams) error {
	data, err := dataFlag(c.Data)
	if err != nil {
		return err
	}
	api, err := c.dial()
	if err != nil {
		return err
	}
	n := client.Notification{ID: c.ID, Source: c.Source, Type: c.Type, Data: data, When: c.When}
	if n.ID == "" {
		n.ID = uuid.NewString()
	}
	duplicate, err := api.Notify(ctx, n)
	switch {
	case err != nil:
		return err
	case c.JSON:
		return jsonLine(s, map[string]any{"id": n.ID, "duplicate": duplicate})
	case duplicate:
		fmt.Fprintln(s.out, n.ID, "was accepted before; nothing is sent again")
	default:
		fmt.Fprintln(s.out, n.ID, "accepted")
	}
	return nil
}
