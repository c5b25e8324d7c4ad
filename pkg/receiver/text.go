package receiver

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/belay-hooks/belay/pkg/event"
)

// Text is a text that is filled from an event, for handlers: a template of the
// language that is described at [Form], with the placeholders that a stored event
// has something for:
//
//	{body}         the body
//	{header:Name}  a header that was kept
//	{form:name}    a field of a form, which the body is
//	{json:a.b.0}   a value of the body's JSON; of a form, of its field payload
//
// A question mark after the name (form:text?) lets a placeholder be empty.
type Text struct {
	template template
	members  []string // of the JSON, that the template asks for
}

// eventDocument is the JSON of an event. Slack, GitHub and others put it into this
// field where they send a form.
var eventDocument = choice{{{kind: formField, arg: "payload"}}, {{kind: body}}}

// ParseText compiles a text. The error says what would be right.
func ParseText(text string) (*Text, error) {
	t, err := parseTemplate(text)
	if err != nil {
		return nil, fmt.Errorf("want %w", err)
	}
	compiled := &Text{template: t}
	for _, p := range t {
		switch p.kind {
		case literal, body, header, formField:
		case jsonValue:
			compiled.members = append(compiled.members, p.member)
		default:
			return nil, fmt.Errorf("want of the placeholders {body}, {header:Name}, {form:name} and {json:a.b}, which an event has; %s is none of them", p)
		}
	}
	return compiled, nil
}

// Fill is the text for an event, as a body of this content type: in JSON and XML
// what fills it is escaped. It is not ok if the event lacks what belongs into it,
// or has more than 4 KiB of it.
func (t *Text) Fill(e *event.Event, contentType string) (text string, ok bool) {
	return t.fill(e, escapeFor(mediaType(contentType)), maxFill)
}

// FillURL is the text for an event, as a URL: beside other text, what fills it is
// escaped to be one segment of a path, or one value of a query. It is not ok as
// that of [Text.Fill] is not, and if a segment would lead up the path.
func (t *Text) FillURL(e *event.Event) (text string, ok bool) {
	if len(t.template) == 1 {
		return t.fill(e, func(s string) string { return s }, maxFill)
	}
	return t.fill(e, func(s string) string {
		if s == "." || s == ".." {
			return ""
		}
		return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
	}, maxFill)
}

// FillTokens is the text for an event, as the subject of a message: what fills it is
// one token, escaped. It is not ok as that of [Text.Fill] is not.
func (t *Text) FillTokens(e *event.Event) (text string, ok bool) {
	return t.fill(e, event.Token, maxFill)
}

func (t *Text) fill(e *event.Event, escape func(string) string, most int) (string, bool) {
	q := t.request(e)
	var b strings.Builder
	for _, p := range t.template {
		v := q.value(p)
		if p.kind != literal {
			if len(v) > most {
				return "", false
			}
			v = escape(v)
		}
		if v == "" && !p.optional {
			return "", false
		}
		b.WriteString(v)
	}
	return b.String(), true
}

// request is the event as the request that it was.
func (t *Text) request(e *event.Event) *request {
	h := make(http.Header, len(e.Header)+1)
	for name, values := range e.Header {
		h[name] = values
	}
	h.Set("Content-Type", e.ContentType)
	q := &request{Request: &http.Request{Method: http.MethodPost, Header: h, URL: &url.URL{}}, body: e.Body}
	if t.members != nil {
		q.document = readDocument(eventDocument.bytes(q), t.members, false)
	}
	return q
}
