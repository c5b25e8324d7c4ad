package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/belay-hooks/belay/internal/bench"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/receiver/samples"
)

// benchSecret is what the load is signed with.
const benchSecret = "belay bench"

type plainSecret string

// Value is the secret.
func (s plainSecret) Value() (string, error) { return string(s), nil }

func benchSource(provider string) (*receiver.Source, error) {
	return receiver.NewSource(receiver.SourceConfig{Receiver: provider, Secrets: []receiver.Secret{plainSecret(benchSecret)}})
}

// benchHooks are the webhooks that are sent: the samples as they come from the
// providers, GitHub's without blanks and Stripe's with.
func benchHooks(providers []string) ([]*bench.Hook, error) {
	const githubID, stripeID = "b3e1a9d0-7f1c-11ef-8000-000000000000", "evt_1Belay000000000000"
	var hooks []*bench.Hook
	for _, sampled := range []struct{ provider, event string }{
		{"github", "push"}, {"stripe", "charge.succeeded"}, {"github", "push"}, {"stripe", "customer.subscription.created"},
	} {
		if !slices.Contains(providers, sampled.provider) {
			continue
		}
		sample, ok := samples.Find(sampled.provider, sampled.event)
		if !ok {
			return nil, fmt.Errorf("there is no sample %s of %s", sampled.event, sampled.provider)
		}
		id := githubID
		if sampled.provider == "stripe" {
			id = stripeID
		}
		_, body, err := sample.Fill(id, time.Now())
		if err != nil {
			return nil, err
		}
		source, err := benchSource(sampled.provider)
		if err != nil {
			return nil, err
		}
		c := bench.HookConfig{
			Source: source, Path: "/webhooks/" + sampled.provider, Body: body, ID: id,
			Header: http.Header{"Content-Type": {"application/json"}, "Accept": {"*/*"}},
		}
		if sampled.provider == "github" {
			if c.Body, err = compact(body); err != nil {
				return nil, err
			}
			c.Header.Set("User-Agent", "GitHub-Hookshot/044aadd")
			c.Header.Set("X-GitHub-Event", sampled.event)
			c.Header.Set("X-GitHub-Delivery", githubID)
			c.Header.Set("X-GitHub-Hook-ID", "292430182")
			c.Header.Set("X-GitHub-Hook-Installation-Target-ID", "79929171")
			c.Header.Set("X-GitHub-Hook-Installation-Target-Type", "repository")
		} else {
			c.Signature = "Stripe-Signature"
			c.Header.Set("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
		}
		hook, err := bench.NewHook(c)
		if err != nil {
			return nil, err
		}
		hooks = append(hooks, hook)
	}
	return hooks, nil
}

// compact is a JSON text without the blanks between its parts.
func compact(text []byte) ([]byte, error) {
	var out bytes.Buffer
	err := json.Compact(&out, text)
	return out.Bytes(), err
}
