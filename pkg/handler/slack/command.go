// Package slack helps handlers of Slack's slash commands and outgoing webhooks:
// it takes apart what people type, and has the shapes of what they are answered
// (https://docs.slack.dev/interactivity/implementing-slash-commands/).
//
// The two ways of writing a command are those of ASP.NET WebHooks' SlackCommand.
package slack

import (
	"errors"
	"fmt"
	"mime"
	"net/url"
	"strings"

	"github.com/belay-hooks/belay/pkg/event"
)

// Command is a slash command, or an outgoing webhook, as Slack sends it.
type Command struct {
	// Name is the command with its slash: /deploy. An outgoing webhook has its
	// trigger word here.
	Name string
	// Text is what stands behind the name, trimmed.
	Text string
	// ResponseURL takes up to five messages within 30 minutes. Who knows it may
	// post to it. An outgoing webhook has none.
	ResponseURL string
	// TriggerID opens a dialog, within 3 seconds.
	TriggerID string

	UserID, UserName       string
	ChannelID, ChannelName string
	TeamID, TeamDomain     string
}

// ErrNoCommand: the event is neither a slash command nor an outgoing webhook.
var ErrNoCommand = errors.New("slack: the event is no slash command")

// ParseCommand reads the command that an event is. It fails with [ErrNoCommand].
func ParseCommand(e *event.Event) (Command, error) {
	media, _, err := mime.ParseMediaType(e.ContentType)
	if err != nil || media != "application/x-www-form-urlencoded" {
		return Command{}, ErrNoCommand
	}
	form, err := url.ParseQuery(string(e.Body))
	if err != nil {
		return Command{}, fmt.Errorf("%w: its form cannot be read", ErrNoCommand)
	}
	c := Command{
		Name: form.Get("command"), Text: strings.TrimSpace(form.Get("text")),
		ResponseURL: form.Get("response_url"), TriggerID: form.Get("trigger_id"),
		UserID: form.Get("user_id"), UserName: form.Get("user_name"),
		ChannelID: form.Get("channel_id"), ChannelName: form.Get("channel_name"),
		TeamID: form.Get("team_id"), TeamDomain: form.Get("team_domain"),
	}
	if word := form.Get("trigger_word"); word != "" {
		c.Name, c.Text = word, afterPrefix(c.Text, word)
	}
	if c.Name == "" {
		return Command{}, ErrNoCommand
	}
	return c, nil
}

// afterPrefix is the text without the word that it begins with, in any case.
func afterPrefix(text, word string) string {
	if len(text) >= len(word) && strings.EqualFold(text[:len(word)], word) {
		text = text[len(word):]
	}
	return strings.TrimSpace(text)
}

// ActionWithValue takes a text apart that is an action and a value: the first
// word, which ends at a space, and the trimmed rest.
//
//	query what's the weather?  →  query, what's the weather?
func ActionWithValue(text string) (action, value string) {
	action, value, _ = strings.Cut(strings.TrimLeft(text, " "), " ")
	return strings.TrimSpace(action), strings.TrimSpace(value)
}

// ActionWithParameters takes a text apart that is an action and parameters, of
// which each may stand there several times:
//
//	add title=doctor visit; time="Feb 3; 2 PM"; note=a\;b; urgent
//
// A semicolon ends a parameter. One that does not is quoted, by ' or ", or has a
// backslash before it. Quotes around a value are no part of it, so an apostrophe
// has to stand between double quotes. A parameter without = has the value "".
func ActionWithParameters(text string) (action string, parameters url.Values, err error) {
	action, rest := ActionWithValue(text)
	pieces, err := split(rest)
	if err != nil {
		return "", nil, err
	}
	parameters = make(url.Values, len(pieces))
	for _, piece := range pieces {
		name, value, _ := strings.Cut(piece, "=")
		name = strings.TrimSpace(name)
		if err := checkName(name); err != nil {
			return "", nil, err
		}
		parameters.Add(name, strings.Trim(strings.Trim(strings.TrimSpace(value), "'"), `"`))
	}
	return action, parameters, nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("slack: a parameter has no name before its =")
	case name[0] == '\'' || name[0] == '"':
		return fmt.Errorf("slack: the name of a parameter cannot be quoted: %s", name)
	case strings.Contains(name, ";"):
		return fmt.Errorf("slack: the name of a parameter cannot hold a semicolon: %s", name)
	}
	return nil
}

// split cuts a text at the semicolons that are not quoted or escaped, and leaves
// out what is empty then. The backslash of one that is escaped is gone.
func split(text string) (pieces []string, err error) {
	var piece []byte
	end := func() {
		if p := strings.TrimSpace(string(piece)); p != "" {
			pieces = append(pieces, p)
		}
		piece = piece[:0]
	}
	quote, opened := byte(0), 0
	for i := range len(text) {
		switch c := text[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
			piece = append(piece, c)
		case c == '\'' || c == '"':
			quote, opened = c, i
			piece = append(piece, c)
		case c == ';' && i > 0 && text[i-1] == '\\':
			piece[len(piece)-1] = ';'
		case c == ';':
			end()
		default:
			piece = append(piece, c)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("slack: the quote %c at position %d of the parameters is not closed", quote, opened)
	}
	end()
	return pieces, nil
}
