package worker

import (
	"context"
	"fmt"
	"net/http"

	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/receiver"
)

// respond is the built-in handler respond: it ends the chain with an answer for
// the sender.
type respond struct {
	status      int
	contentType string
	header      http.Header
	body        *receiver.Text
}

func newRespond(c *config.Respond) (*respond, error) {
	body, err := receiver.ParseText(c.Body)
	if err != nil {
		return nil, fmt.Errorf("respond.body: %w", err)
	}
	r := &respond{status: c.Status, contentType: c.ContentType, header: make(http.Header, len(c.Headers)+1), body: body}
	for name, value := range c.Headers {
		r.header.Set(name, value)
	}
	if c.Body != "" {
		r.header.Set("Content-Type", c.ContentType)
	}
	return r, nil
}

// Handle fills the body. An event that does not have what belongs into it will
// never have it.
func (r *respond) Handle(_ context.Context, e *event.Event) (*handler.Response, error) {
	body, ok := r.body.Fill(e, r.contentType)
	if !ok {
		return nil, handler.Never(fmt.Errorf("respond: %w", errLacks))
	}
	return &handler.Response{Status: r.status, Header: r.header.Clone(), Body: []byte(body)}, nil
}
