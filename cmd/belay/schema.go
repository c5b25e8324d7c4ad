package main

import (
	"context"

	"github.com/belay-hooks/belay/internal/schema"
	"github.com/belay-hooks/belay/pkg/receiver"
)

type schemaCmd struct {
	Of string `arg:"" optional:"" default:"config" enum:"config,receiver" help:"config: the configuration file; receiver: a file that holds one receiver."`
}

// Help shows how it is used.
func (*schemaCmd) Help() string {
	return `An editor with a YAML language server completes and checks by it:

  belay schema > belay.schema.json
  belay schema receiver > receiver.schema.json

and as the first line of belay.yaml:

  # yaml-language-server: $schema=belay.schema.json`
}

// Run prints the schema.
func (c *schemaCmd) Run(_ context.Context, s streams) error {
	text, err := schema.Config(receiver.Names())
	if c.Of == "receiver" {
		text = schema.Receiver()
	}
	if err == nil {
		_, err = s.out.Write(text)
	}
	return err
}
