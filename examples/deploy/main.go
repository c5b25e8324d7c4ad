// Command deploy runs a script for each push to the main branch on GitHub. It runs
// beside an ingress with the configuration of this directory:
//
//	export GITHUB_WEBHOOK_SECRET=… BELAY_CONFIG=examples/deploy/belay.yaml BELAY_NATS_URL=nats://127.0.0.1:4222
//	go run ./cmd/ingress & go run ./examples/deploy
//
// The pushes of a repository are deployed one at a time and in their order: the key
// of GitHub's events is the repository.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/worker"
)

func main() { worker.Main(chain("./deploy.sh")) }

func chain(script string) handler.Chain {
	return handler.Chain{
		Name: "deploy", From: []string{"github"}, Events: []string{"push"}, When: toMain, Ordered: true,
		// A script that fails three times wants somebody to look at it: the push is
		// a dead letter then, and the next one is deployed.
		Retry: handler.Retry{Attempts: 3, First: 10 * time.Second, Factor: 6, Max: time.Hour, GiveUp: 24 * time.Hour},
		Steps: []handler.Step{
			{Name: "run", Timeout: 10 * time.Minute, Handler: handler.Typed(
				func(ctx context.Context, _ *event.Event, p push) error { return p.deploy(ctx, script) })},
		},
	}
}

// push is what is needed of GitHub's event push
// (https://docs.github.com/webhooks/webhook-events-and-payloads#push).
type push struct {
	Ref        string `json:"ref"`
	After      string `json:"after"`
	Deleted    bool   `json:"deleted"`
	Repository struct {
		FullName string `json:"full_name"`
	} `json:"repository"`
}

// toMain says whether the chain takes a push.
func toMain(e *event.Event) (bool, error) {
	p, err := handler.Decode[push](e)
	return p.Ref == "refs/heads/main" && !p.Deleted, err
}

// deploy runs the script. It ends with the context: at the step's time-out, and when
// the worker must stop at once.
func (p push) deploy(ctx context.Context, script string) error {
	var out bytes.Buffer
	run := exec.CommandContext(ctx, script, p.Repository.FullName, p.After)
	run.Stdout, run.Stderr, run.WaitDelay = &out, &out, 5*time.Second
	if err := run.Run(); err != nil {
		text := strings.TrimSpace(out.String())
		return fmt.Errorf("deploy %s of %s: %w: %s", p.After, p.Repository.FullName, err, text[max(0, len(text)-500):])
	}
	return nil
}
