package main

import (
	"context"
	"fmt"
	"time"

	"github.com/belay-hooks/belay/internal/seal"
)

type keysCmd struct {
	List   listKeysCmd  `cmd:"" default:"withargs" help:"List the API keys of a tenant."`
	Create createKeyCmd `cmd:"" help:"Make an API key, and print it."`
	Revoke revokeKeyCmd `cmd:"" help:"Make an API key worthless."`
}

// Help shows how it is used.
func (*keysCmd) Help() string {
	return `The keys of the outbox API. It wants the operator's key: one of BELAY_API_KEYS
that names no tenant.

  belay keys create --tenant acme --access write --description 'acme production'
  belay keys --tenant acme
  belay keys revoke --tenant acme key_…`
}

type listKeysCmd struct{ outboxFlags }

// Run lists.
func (c *listKeysCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	keys, err := api.Keys(ctx)
	if err != nil {
		return err
	}
	l := newListing(s, c.JSON, "no keys but those of BELAY_API_KEYS", "ID", "TENANT", "ACCESS", "KEY", "CREATED", "BY", "DESCRIPTION")
	for _, k := range keys {
		if err := l.add(k, k.ID, k.Tenant, k.Access, k.Prefix+"…", k.Created.Local().Format(time.RFC3339), k.By, line(k.Description, 40)); err != nil {
			return err
		}
	}
	return l.print()
}

type createKeyCmd struct {
	outboxFlags
	Access      string `env:"-" default:"read" enum:"read,write" help:"read or write."`
	Description string `env:"-" placeholder:"TEXT" help:"For people."`
}

// Run creates.
func (c *createKeyCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	k, err := api.CreateKey(ctx, c.Access, c.Description)
	if err != nil {
		return err
	}
	if c.JSON {
		return jsonLine(s, k)
	}
	fmt.Fprintf(s.err, "%s may %s for the tenant %s; it is not shown again\n", k.ID, k.Access, k.Tenant)
	fmt.Fprintln(s.out, k.Key)
	return nil
}

type revokeKeyCmd struct {
	outboxFlags
	ID string `arg:"" help:"The id of the key."`
}

// Run revokes.
func (c *revokeKeyCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	if err := api.RevokeKey(ctx, c.ID); err != nil {
		return err
	}
	fmt.Fprintln(s.out, c.ID, "revoked")
	return nil
}

type keysetCmd struct {
	Create createKeysetCmd `cmd:"" help:"Make a keyset with one key."`
	Rotate rotateKeysetCmd `cmd:"" help:"Add a key, which encrypts from now on."`
}

// Help shows how it is used.
func (*keysetCmd) Help() string {
	return `The keyset (BELAY_KEYSET) that the secrets of subscriptions are encrypted with:
a Tink keyset in JSON, which tinkey reads too.

  belay keyset create keyset.json
  belay keyset rotate keyset.json

After a rotation every outbox is restarted with the new file. The keys before stay
in it: what they have encrypted is read until it is written again.`
}

type createKeysetCmd struct {
	File string `arg:"" help:"The file to make."`
}

// Run creates.
func (c *createKeysetCmd) Run(s streams) error {
	if err := seal.Create(c.File); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.err, "%s made: name it in BELAY_KEYSET, and keep a copy apart from the data\n", c.File)
	return err
}

type rotateKeysetCmd struct {
	File string `arg:"" help:"The file to change."`
}

// Run rotates.
func (c *rotateKeysetCmd) Run(s streams) error {
	if err := seal.Rotate(c.File); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.err, "%s has another key: restart every outbox with it\n", c.File)
	return err
}
