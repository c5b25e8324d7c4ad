package slack_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/handler/slack"
)

// The cases are those that ASP.NET WebHooks tested its SlackCommand with
// (aspnet/AspNetWebHooks, SlackCommandParserTests), and some more.
func TestActionWithValue(t *testing.T) {
	for text, want := range map[string][2]string{
		"": {}, " ": {}, "你好": {"你好", ""}, " 你好 ": {"你好", ""}, "你好 世界": {"你好", "世界"}, " 你好  世界 ": {"你好", "世界"},
		"你好   世界": {"你好", "世界"}, "你 好 世 界": {"你", "好 世 界"}, `你 好;世\界\;`: {"你", `好;世\界\;`},
		` 你  好;世\界\; `: {"你", `好;世\界\;`}, "a\tb c": {"a\tb", "c"}, "query what's the weather?": {"query", "what's the weather?"},
	} {
		if action, value := slack.ActionWithValue(text); action != want[0] || value != want[1] {
			t.Errorf("%q: %q, %q; want %q", text, action, value, want)
		}
	}
}

func TestActionWithParameters(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "",
		"action":                      "action",
		" action ":                    "action",
		"action p1=v1":                "action p1=v1",
		" action  p1 = v1 ":           "action p1=v1",
		"action p1=v1; p1=v2":         "action p1=v1,v2",
		"action p1=v1; p2=v2":         "action p1=v1 p2=v2",
		`action p1='v1'; p2="v2"`:     "action p1=v1 p2=v2",
		`action p1='v;1'; p2="v;2"`:   "action p1=v;1 p2=v;2",
		`a p1=\;v1; p2=v\;2; p3=v3\;`: "a p1=;v1 p2=v;2 p3=v3;",
		"你好 世=界":                      "你好 世=界",
		"a flag; p=; q":               "a flag= p= q=",
		"a p=x=y;;;":                  "a p=x=y",
		`a p='it"s'; q="it's"`:        `a p=it"s q=it's`,
		`a p='x\;y'`:                  `a p=x\;y`,
		"a ;p=v":                      "a p=v",
	} {
		action, got, err := slack.ActionWithParameters(text)
		for _, name := range slices.Sorted(maps.Keys(got)) {
			action += " " + name + "=" + strings.Join(got[name], ",")
		}
		if err != nil || action != want {
			t.Errorf("%q: %q, %v; want %q", text, action, err, want)
		}
	}
}

func TestActionWithParametersErrors(t *testing.T) {
	unclosed := func(quote rune, at int) string { return fmt.Sprintf("the quote %c at position %d ", quote, at) }
	for text, want := range map[string]string{
		"a '": unclosed('\'', 0), `a "`: unclosed('"', 0), "a '''": unclosed('\'', 2), `a """`: unclosed('"', 2),
		"a a='b;b=c": unclosed('\'', 2), `a a="b;b=c`: unclosed('"', 2), `a a='b;b="c"`: unclosed('\'', 2), `a a="b;b='c'`: unclosed('"', 2),
		"a a='b;b='c'": unclosed('\'', 9), `a a="b;b="c"`: unclosed('"', 9), "a a=';b;b='c;'": unclosed('\'', 11), `a a=";b;b="c;"`: unclosed('"', 11),
		"a 'text'": "cannot be quoted: 'text'", `a "text"=v`: `cannot be quoted: "text"`,
		`a \;text`: "semicolon: ;text", `a te\;xt=v`: "semicolon: te;xt", `a te\;\;xt`: "semicolon: te;;xt", `a text\;=v`: "semicolon: text;",
		"a =v": "has no name", "a =": "has no name",
	} {
		if _, _, err := slack.ActionWithParameters(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

const formType = "application/x-www-form-urlencoded"

func TestParseCommand(t *testing.T) {
	for name, test := range map[string]struct {
		contentType, body string
		want              slack.Command
		none              bool
	}{
		"slash": {
			formType + "; charset=utf-8", "command=%2Fdeploy&text=+api+now+&response_url=https%3A%2F%2Fhooks.slack.com%2Fx&trigger_id=1.2&user_id=U1&user_name=ann&channel_id=C1&channel_name=ops&team_id=T1&team_domain=acme",
			slack.Command{
				Name: "/deploy", Text: "api now", ResponseURL: "https://hooks.slack.com/x", TriggerID: "1.2", UserID: "U1", UserName: "ann",
				ChannelID: "C1", ChannelName: "ops", TeamID: "T1", TeamDomain: "acme",
			}, false,
		},
		"outgoing":      {formType, "trigger_word=Bot:&text=bot:+hello", slack.Command{Name: "Bot:", Text: "hello"}, false},
		"other word":    {formType, "trigger_word=bot&text=hello", slack.Command{Name: "bot", Text: "hello"}, false},
		"interaction":   {formType, "payload=%7B%7D", slack.Command{}, true},
		"broken":        {formType, "command=%zz", slack.Command{}, true},
		"JSON":          {"application/json", `{"command":"/deploy"}`, slack.Command{}, true},
		"no type":       {"", "command=%2Fdeploy", slack.Command{}, true},
		"cut in a rune": {formType, "trigger_word=%C3%A4&text=%C3", slack.Command{Name: "ä", Text: "\xc3"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := slack.ParseCommand(&event.Event{ContentType: test.contentType, Body: []byte(test.body)})
			if test.none != errors.Is(err, slack.ErrNoCommand) || got != test.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func FuzzActionWithParameters(f *testing.F) {
	f.Add(`add title=doctor visit; time="Feb 3; 2 PM"; note=a\;b; urgent`)
	f.Add(`a p1=\;v1; p2='v;2'`)
	f.Fuzz(func(t *testing.T, text string) {
		action, parameters, err := slack.ActionWithParameters(text)
		if err != nil {
			return
		}
		if strings.Contains(action, " ") {
			t.Errorf("action %q", action)
		}
		for name, values := range parameters {
			if name == "" || strings.ContainsAny(name, ";=") || len(values) == 0 {
				t.Errorf("%q has the parameter %q with %q", text, name, values)
			}
		}
		// What is free of quotes and escapes is written as it is read.
		if strings.ContainsAny(text, `'"\`) {
			return
		}
		again, err := rewritten(action, parameters)
		if err != nil || again.Encode() != parameters.Encode() {
			t.Errorf("%q is read as %v, and written and read again as %v, %v", text, parameters, again, err)
		}
	})
}

func rewritten(action string, parameters url.Values) (url.Values, error) {
	text := action + " "
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		for _, value := range parameters[name] {
			text += name + "=" + value + ";"
		}
	}
	if action == "" {
		return parameters, nil
	}
	_, again, err := slack.ActionWithParameters(text)
	return again, err
}

func FuzzParseCommand(f *testing.F) {
	f.Add("command=%2Fdeploy&text=a", formType)
	f.Add("trigger_word=bot&text=BOT+a", formType)
	f.Fuzz(func(t *testing.T, body, contentType string) {
		c, err := slack.ParseCommand(&event.Event{ContentType: contentType, Body: []byte(body)})
		if (err == nil) != (c.Name != "") || c.Text != strings.TrimSpace(c.Text) {
			t.Errorf("%q: %+v, %v", body, c, err)
		}
	})
}

func ExampleActionWithParameters() {
	action, parameters, err := slack.ActionWithParameters(`add title=doctor visit; place="Children's Hospital"; urgent`)
	fmt.Println(action, parameters.Get("title"), "|", parameters.Get("place"), "|", parameters.Has("urgent"), err)
	// Output: add doctor visit | Children's Hospital | true <nil>
}

func ExampleSlashResponse() {
	response, err := handler.JSON(200, slack.SlashResponse{
		Text: "Deployed.", ResponseType: slack.InChannel,
		Attachments: []slack.Attachment{{Text: "api", Fallback: "api", Color: "good", Fields: []slack.Field{{Title: "Version", Value: "1.2", Short: true}}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.Header.Get("Content-Type"), json.Valid(response.Body))
	fmt.Println(string(response.Body))
	// Output:
	// application/json true
	// {"text":"Deployed.","response_type":"in_channel","attachments":[{"text":"api","fallback":"api","color":"good","fields":[{"title":"Version","value":"1.2","short":true}]}]}
}
