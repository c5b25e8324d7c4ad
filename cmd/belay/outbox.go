package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/belay-hooks/belay/pkg/client"
	"github.com/belay-hooks/belay/pkg/config"
)

// outboxFlags are the flags of the verbs that call the outbox's API.
type outboxFlags struct {
	URL    string          `name:"api" env:"BELAY_OUTBOX_URL" default:"http://127.0.0.1:8081" help:"The outbox API."`
	Key    config.Redacted `env:"BELAY_API_KEY" placeholder:"KEY" help:"The API key. Better given as BELAY_API_KEY than as a flag, which every process of the machine can read."`
	Tenant string          `env:"-" placeholder:"NAME" help:"The tenant, with the operator's key. Default: that of the key."`
	answerFlags
}

// answers is a client that prints what the API answers.
func (f outboxFlags) answers() (*apiClient, error) {
	c, err := f.dial()
	if err != nil {
		return nil, err
	}
	return &apiClient{f.answerFlags, c}, nil
}

func (f outboxFlags) dial() (*client.Client, error) {
	c, err := client.New(f.URL, string(f.Key))
	if err != nil {
		return nil, &exitError{fmt.Errorf("--api: %w", err), exitUsage}
	}
	return c.In(f.Tenant), nil
}

// dataFlag reads JSON that is given as text, as @file, or as @- from the standard
// input.
func dataFlag(text string) (json.RawMessage, error) {
	data := []byte(text)
	if name, ok := strings.CutPrefix(text, "@"); ok {
		var err error
		if name == "-" {
			name = "/dev/stdin"
		}
		if data, err = os.ReadFile(name); err != nil {
			return nil, &exitError{fmt.Errorf("--data: %w", err), exitUsage}
		}
	}
	if len(data) == 0 {
		return nil, nil
	}
	if !json.Valid(data) {
		return nil, &exitError{fmt.Errorf("--data: want JSON, @file with JSON, or @- for the standard input"), exitUsage}
	}
	return data, nil
}
