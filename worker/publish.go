package worker

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
)

// publish is the built-in handler publish: it sends the event to a subject of the
// NATS server that the worker is connected to, in CloudEvents binary mode.
//
// A stream has to take the subject and confirms the message, which has the step's
// idempotency key as its id: a step that is repeated inside the stream's window
// stores nothing twice. With core nobody confirms.
type publish struct {
	subject []func(e *event.Event) (string, bool) // joined
	core    bool
	broker  *stream.Broker // the worker's that runs it
}

// attribute is a placeholder of a subject that stands for an attribute.
var attribute = regexp.MustCompile(`\{(receiver|source|type|name|key)\}`)

func newPublish(c *config.Publish) (*publish, error) {
	p := &publish{core: c.Core}
	rest := c.Subject
	for {
		at := attribute.FindStringSubmatchIndex(rest)
		end := len(rest)
		if at != nil {
			end = at[0]
		}
		text, err := receiver.ParseText(rest[:end])
		if err != nil {
			return nil, fmt.Errorf("publish.subject: %w; or {receiver}, {source}, {type}, {name} or {key}", err)
		}
		p.subject = append(p.subject, text.FillTokens)
		if at == nil {
			break
		}
		p.subject = append(p.subject, attributeTokens(rest[at[2]:at[3]]))
		rest = rest[at[1]:]
	}
	fixed, _, _ := strings.Cut(c.Subject, ".")
	if strings.Contains(fixed, "{") {
		return nil, errors.New("publish.subject: want a first token of its own, such as hooks in hooks.{type}: the event must not choose it")
	}
	if !strings.Contains(c.Subject, "{") {
		fixed = c.Subject
	}
	if err := checkSubject(fixed); err != nil {
		return nil, fmt.Errorf("publish.subject: %w", err)
	}
	return p, nil
}

// attributeTokens is an attribute as tokens: the dots of a type and a name separate
// them, any other attribute is one.
func attributeTokens(name string) func(e *event.Event) (string, bool) {
	return func(e *event.Event) (string, bool) {
		text := map[string]string{
			"receiver": e.Receiver, "source": e.SourceID, "type": e.Type, "name": e.Name(), "key": e.Key,
		}[name]
		if name != "type" && name != "name" {
			return event.Token(text), text != ""
		}
		tokens := strings.Split(text, ".")
		for i, t := range tokens {
			tokens[i] = event.Token(t)
		}
		return strings.Join(tokens, "."), text != ""
	}
}

// maxSubject bounds a subject, in bytes.
const maxSubject = 255

// checkSubject refuses what is no subject to publish to, and what is Belay's or the
// server's own.
func checkSubject(s string) error {
	first, _, _ := strings.Cut(s, ".")
	switch {
	case first == "belay" || strings.HasPrefix(first, "$") || first == "_INBOX" || first == "_R_":
		return fmt.Errorf("%q is Belay's or the server's own, want another first token", first)
	case len(s) > maxSubject || strings.ContainsAny(s, "*> \t\r\n\x00"):
		return fmt.Errorf("want a subject without blanks, * and >, of at most %d bytes", maxSubject)
	}
	for token := range strings.SplitSeq(s, ".") {
		if token == "" {
			return errors.New("want tokens with dots between them, none of them empty")
		}
	}
	return nil
}

func (p *publish) bind(b *stream.Broker) { p.broker = b }

// Handle sends the event.
func (p *publish) Handle(ctx context.Context, e *event.Event) (*handler.Response, error) {
	subject, err := p.subjectFor(e)
	if err != nil {
		return nil, handler.Never(err)
	}
	header, data := e.Encode()
	m := stream.Message{Subject: subject, Header: header, Data: data, ID: e.IdempotencyKey()}
	if p.core {
		m.ID = ""
		err = p.broker.PublishCore(ctx, m)
	} else {
		err = p.broker.PublishForeign(ctx, m)
	}
	if errors.Is(err, stream.ErrTooLarge) {
		err = handler.Never(err)
	}
	return nil, err
}

func (p *publish) subjectFor(e *event.Event) (string, error) {
	var b strings.Builder
	for _, part := range p.subject {
		text, ok := part(e)
		if !ok {
			return "", fmt.Errorf("publish.subject: %w", errLacks)
		}
		b.WriteString(text)
	}
	if err := checkSubject(b.String()); err != nil {
		return "", fmt.Errorf("publish.subject: %w", err)
	}
	return b.String(), nil
}
