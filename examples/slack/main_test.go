package main

import (
	"net/url"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/worker"
)

func TestAnswer(t *testing.T) {
	for text, want := range map[string]string{
		"add title=doctor visit; time=2 PM": `{"text":"ann asked for add"`,
		"":                                  "what is to be done?",
		"add title='":                       "is not closed",
	} {
		form := url.Values{"command": {"/appointment"}, "text": {text}, "user_name": {"ann"}}
		got, err := worker.Try(t.Context(), slash, &event.Event{
			ID: "1", Receiver: "slack-interactive", Type: "slack-interactive.command.appointment",
			ContentType: "application/x-www-form-urlencoded", Body: []byte(form.Encode()),
		})
		if err != nil || got.Outcome != "responded" || !strings.Contains(string(got.Response.Body), want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}
