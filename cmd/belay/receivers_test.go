package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/pkg/receiver"
)

func TestReceivers(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want []string
	}{
		"all":                {nil, []string{"NAME", "github ", "hmac-sha256 in X-Hub-Signature-256", "gitlab ", "token in X-Gitlab-Token", "basic authentication"}},
		"one":                {[]string{"github"}, []string{"GitHub", "receiver: github", "GITHUB_SECRET", "/webhooks/github", "https://docs.github.com", "10s"}},
		"by an alias":        {[]string{"whatsapp"}, []string{"receiver: meta", "verify_token", "GET with a challenge"}},
		"below another path": {[]string{"slack", "--prefix=/in/"}, []string{"https://YOUR-HOST/in/slack", "signed challenge"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := run(t.Context(), append([]string{"receivers"}, test.args...), streams{out: &out, err: &out}); err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, &out)
				}
			}
		})
	}
}

func TestReceiversAsJSON(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"receivers", "--json"}, streams{out: &out, err: &out}); err != nil {
		t.Fatal(err)
	}
	var all []receiver.Summary
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != len(receiver.Names()) {
		t.Errorf("%d receivers, want %d", len(all), len(receiver.Names()))
	}
}

func TestUnknownReceiver(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), []string{"receivers", "hubgit"}, streams{out: &out, err: &out})
	if err == nil || !strings.Contains(err.Error(), "belay receivers") {
		t.Errorf("error %v", err)
	}
}

// The page is made of the catalogue: go generate ./cmd/belay.
func TestReceiversPageIsUpToDate(t *testing.T) {
	var want bytes.Buffer
	if err := run(t.Context(), []string{"receivers", "--markdown"}, streams{out: &want, err: &want}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/receivers.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("docs/receivers.md is stale, run go generate ./cmd/belay")
	}
}
