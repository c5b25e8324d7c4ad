// Command slack is a worker that answers Slack's slash commands while the person
// waits. It runs beside an ingress with the configuration of this directory:
//
//	export SLACK_SIGNING_SECRET=… BELAY_CONFIG=examples/slack/belay.yaml BELAY_NATS_URL=nats://127.0.0.1:4222
//	go run ./cmd/ingress & go run ./examples/slack
//	belay send slack-interactive --config examples/slack/belay.yaml
//
// The command is typed as /appointment add title=doctor visit; time=2 PM.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/handler/slack"
	"github.com/belay-hooks/belay/worker"
)

func main() { worker.Main(slash) }

var slash = handler.Chain{
	Name: "slash", From: []string{"slack-interactive"}, Events: []string{"command.*"},
	// Nobody waits for a second attempt.
	Retry: handler.Retry{Attempts: 1, First: 1, Factor: 1, Max: 1, GiveUp: handler.DefaultRetry.GiveUp},
	Steps: []handler.Step{{Name: "answer", Handler: handler.HandlerFunc(answer)}},
}

// answer is what the person sees.
func answer(_ context.Context, e *event.Event) (*handler.Response, error) {
	command, err := slack.ParseCommand(e)
	if err != nil {
		return nil, handler.Never(err)
	}
	action, parameters, err := slack.ActionWithParameters(command.Text)
	if err == nil && action == "" {
		err = errors.New("what is to be done? Try add title=doctor visit; time=2 PM")
	}
	if err != nil {
		return handler.JSON(http.StatusOK, slack.SlashResponse{Text: err.Error()})
	}
	table := slack.Attachment{Fallback: parameters.Encode(), Color: "good"}
	for name, values := range parameters {
		for _, value := range values {
			table.Fields = append(table.Fields, slack.Field{Title: name, Value: value, Short: true})
		}
	}
	return handler.JSON(http.StatusOK, slack.SlashResponse{
		Text:         fmt.Sprintf("%s asked for %s", command.UserName, action),
		ResponseType: slack.InChannel,
		Attachments:  []slack.Attachment{table},
	})
}
