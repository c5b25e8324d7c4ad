package main

import "context"

type replayCmd struct {
	operatorFlags
	Chain       string `arg:"" help:"The chain that is to handle the events."`
	From        when   `env:"-" placeholder:"TIME" help:"Stored at this time or later: 2026-11-22, 2026-11-22T10:00:00Z, or 24h ago. Default: all that is stored."`
	Until       when   `env:"-" placeholder:"TIME" help:"Stored before this time. Default: now."`
	Source      string `env:"-" placeholder:"SOURCE" help:"From this receiver (github) or source (github/eu)."`
	Type        string `env:"-" placeholder:"PATTERN" help:"Of this type: push, pull_request.*."`
	Concurrency int    `env:"-" placeholder:"N" help:"How many each worker handles at once, beside what comes in. Default: 8."`
	AnyOrder    bool   `env:"-" help:"Also into an ordered chain, beside its order."`
	jobFlags
}

// Help shows how it is used.
func (*replayCmd) Help() string {
	return `A chain handles stored events again, as a new run with other idempotency keys: a
new chain those from before it, or any chain after a fix. No other chain notices.

  belay replay billing --from 2026-11-21 --until 2026-11-22 --dry-run
  belay replay billing --from 24h --source stripe/eu --type 'invoice.*'
  belay replay billing --from 24h --concurrency 2 --why 'VAT was wrong' --yes --detach

The workers of the chain do it, beside what comes in. It goes on if this command,
a worker or the console ends; see belay jobs to pause or cancel it.`
}

// Run replays.
func (c *replayCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	filter := letterFilter{Source: c.Source, Type: c.Type, From: c.From, Until: c.Until}.fields()
	body := map[string]any{"chain": c.Chain, "filter": filter, "any_order": c.AnyOrder}
	if c.Concurrency > 0 {
		body["concurrency"] = c.Concurrency
	}
	return api.startJob(ctx, s, c.jobFlags, "/v1/replays", body, "replay", "events for "+c.Chain)
}
