package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/belay-hooks/belay/pkg/client"
	"github.com/belay-hooks/belay/pkg/config"
)

// operatorFlags are the flags of the verbs that call the console's API.
type operatorFlags struct {
	URL string          `name:"url" env:"BELAY_CONSOLE_URL" default:"http://127.0.0.1:8082" help:"The console API."`
	Key config.Redacted `env:"BELAY_CONSOLE_KEY" placeholder:"KEY" help:"The operator's key. Better given as BELAY_CONSOLE_KEY than as a flag, which every process of the machine can read."`
	answerFlags
}

// answerFlags say how answers of an API are printed.
type answerFlags struct {
	JSON bool `name:"json" env:"-" help:"Print the API's answers, a line each."`
}

// apiClient calls the API of the console, or of an outbox.
type apiClient struct {
	answerFlags
	*client.Client
}

func (f operatorFlags) dial() (*apiClient, error) {
	c, err := client.New(f.URL, string(f.Key))
	if err != nil {
		return nil, &exitError{fmt.Errorf("--url: %w", err), exitUsage}
	}
	return &apiClient{f.answerFlags, c}, nil
}

// tell says what came of a call: the API's answer with --json, else the text.
func (f answerFlags) tell(s streams, answer []byte, text string) error {
	if f.JSON {
		text = string(answer)
	}
	_, err := fmt.Fprintln(s.out, text)
	return err
}

// flip makes a request that switches something, and says what is so now.
func (c *apiClient) flip(ctx context.Context, s streams, path, why, done string) error {
	body := map[string]string{}
	if why != "" {
		body["why"] = why
	}
	answer, err := c.Call(ctx, http.MethodPost, path, body, nil)
	if err != nil {
		return err
	}
	return c.tell(s, answer, done)
}
