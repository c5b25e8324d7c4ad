package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
)

// ReplyConfig is a message to a URL that stands in the event: Slack's
// response_url, Discord's follow-ups. One of Body and Value is given.
type ReplyConfig struct {
	// To is the URL: a text that is filled from the event; see [receiver.Text].
	To string
	// Hosts are those that the URL may have, such as hooks.slack.com.
	Hosts []string
	// ContentType is the media type of the body. Empty: application/json.
	ContentType string
	// Body is a text that is filled from the event.
	Body string
	// Value is the name of what an earlier handler left on the event
	// ([event.Values]), which is the body: a text as it is, anything else as JSON.
	Value string
	// Tenant is whose delivery it is. Empty: default.
	Tenant string
}

// Reply is a handler that hands the outbox a message to a URL which stands in the
// event. The outbox posts it, and again where that fails. A handler that is
// repeated after a crash sends nothing twice.
func Reply(c ReplyConfig) (handler.Handler, error) {
	if c.ContentType == "" {
		c.ContentType = "application/json"
	}
	if c.Tenant == "" {
		c.Tenant = config.DefaultTenant
	}
	switch {
	case len(c.Hosts) == 0:
		return nil, errors.New("reply.hosts: want the hosts that the URL may have: it comes with the event")
	case (c.Body == "") == (c.Value == ""):
		return nil, errors.New("reply: want exactly one of body and value")
	}
	r := &reply{ReplyConfig: c}
	var err error
	if r.to, err = receiver.ParseText(c.To); err != nil {
		return nil, fmt.Errorf("reply.to: %w", err)
	}
	if r.body, err = receiver.ParseText(c.Body); err != nil {
		return nil, fmt.Errorf("reply.body: %w", err)
	}
	return r, nil
}

type reply struct {
	ReplyConfig
	to, body *receiver.Text
	broker   *stream.Broker // the worker's that runs it
}

// A bound handler works with the worker's broker, which is not there yet when the
// chains are made.
type bound interface{ bind(b *stream.Broker) }

func (r *reply) bind(b *stream.Broker) { r.broker = b }

var errLacks = errors.New("the event does not have what belongs into the text, or too much of it")

// Handle stores the message for the outbox.
func (r *reply) Handle(ctx context.Context, e *event.Event) (*handler.Response, error) {
	to, err := r.address(e)
	if err != nil {
		return nil, handler.Never(err)
	}
	body, err := r.message(e)
	if err != nil {
		return nil, handler.Never(err)
	}
	_, err = r.broker.StoreEvent(ctx, &event.Event{
		ID:          e.IdempotencyKey(),
		Source:      e.Source,
		Type:        e.Type,
		Time:        time.Now(),
		ContentType: r.ContentType,
		Traceparent: e.Traceparent,
		Tenant:      r.Tenant,
		To:          to,
		Body:        body,
	})
	return nil, err
}

// address is the URL. The error holds none of it but the host: who has the URL may
// post to it.
func (r *reply) address(e *event.Event) (string, error) {
	text, ok := r.to.FillURL(e)
	if !ok {
		return "", fmt.Errorf("reply.to: %w", errLacks)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http":
		return "", errors.New("reply.to: what stands in the event is no URL")
	case !slices.Contains(r.Hosts, strings.ToLower(u.Host)):
		return "", fmt.Errorf("reply.to: the event's URL leads to %q, which is not one of the hosts that are allowed", u.Host)
	}
	return text, nil
}

func (r *reply) message(e *event.Event) ([]byte, error) {
	if r.Value == "" {
		body, ok := r.body.Fill(e, r.ContentType)
		if !ok {
			return nil, fmt.Errorf("reply.body: %w", errLacks)
		}
		return []byte(body), nil
	}
	value, ok := e.Values[r.Value]
	if !ok {
		return nil, fmt.Errorf("reply.value: no handler left %q on the event", r.Value)
	}
	var text string
	if json.Unmarshal(value, &text) == nil {
		return []byte(text), nil
	}
	return value, nil
}
