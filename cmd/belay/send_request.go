package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/receiver/samples"
)

// maxPayload is more than any provider sends: GitHub stops at 25 MB.
const maxPayload = 64 << 20

// newRequest makes a signed request, and its body. Two are two deliveries.
type newRequest func(ctx context.Context) (*http.Request, []byte, error)

// payload finds what to send: a file, or a sample.
func (c *sendCmd) payload(s *receiver.Source) (newRequest, error) {
	if c.File != "" {
		return c.filePayload(s)
	}
	slug := s.Receiver().Slug
	sample, ok := samples.Find(slug, c.Event)
	if !ok {
		return nil, fmt.Errorf("no sample of %s is called %q; give a payload with -f, or send one of: %s", slug, c.Event, eventNames(slug))
	}
	return func(ctx context.Context) (*http.Request, []byte, error) {
		now := time.Now()
		r, body, err := sample.Request(ctx, c.to(s), c.ID, now)
		if err != nil {
			return nil, nil, err
		}
		body, err = c.sign(s, r, body, now)
		return r, body, err
	}, nil
}

// filePayload sends a payload of one's own, with the headers that name the event
// and the delivery.
func (c *sendCmd) filePayload(s *receiver.Source) (newRequest, error) {
	body, err := c.readFile()
	if err != nil {
		return nil, err
	}
	event := s.EventHeader()
	if c.Event == "" && event != "" {
		return nil, fmt.Errorf("which event is it? %s names it in a header: belay send %s <event> -f %s", s.Receiver().Name, c.Receiver, c.File)
	}
	return func(ctx context.Context) (*http.Request, []byte, error) {
		r, err := http.NewRequestWithContext(ctx, s.Receiver().Methods[0], c.to(s), bytes.NewReader(body))
		if err != nil {
			return nil, nil, err
		}
		r.Header.Set("Content-Type", contentType(s))
		if event != "" {
			// What follows the first dot is in the body: pull_request.opened.
			r.Header.Set(event, strings.SplitN(c.Event, ".", 2)[0])
		}
		if h := idHeader(s); h != "" && c.ID != "" {
			r.Header.Set(h, c.ID)
		}
		signed, err := c.sign(s, r, body, time.Now())
		return r, signed, err
	}, nil
}

// sign completes a request, and returns its body.
func (c *sendCmd) sign(s *receiver.Source, r *http.Request, body []byte, now time.Time) ([]byte, error) {
	r.Header.Set("User-Agent", "belay-send")
	if err := c.Header.set(r.Header); err != nil {
		return nil, err
	}
	signed, err := s.Sign(r, body, now)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(signed)), int64(len(signed))
	r.GetBody = nil // nobody asks for it: redirects are not followed
	return signed, err
}

func (c *sendCmd) to(s *receiver.Source) string {
	if c.URL != "" {
		return c.URL
	}
	return sources.URL(c.Ingress, s)
}

// readFile reads the payload of --file.
func (c *sendCmd) readFile() (body []byte, err error) {
	if c.File == "-" {
		return readPayload(os.Stdin)
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, fmt.Errorf("the payload: %w", err)
	}
	defer f.Close()
	return readPayload(f)
}

func readPayload(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxPayload+1))
	if err == nil && len(body) > maxPayload {
		err = fmt.Errorf("the payload is over %d bytes", maxPayload)
	}
	return body, err
}

// eventNames are the samples of a receiver, for people.
func eventNames(slug string) string {
	var all []string
	for _, s := range samples.Of(slug) {
		all = append(all, s.Event)
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// contentType is JSON, or what the provider sends instead.
func contentType(s *receiver.Source) string {
	if s.AcceptsType("application/json") {
		return "application/json"
	}
	return s.Receiver().ContentTypes[0]
}

// idHeader is the header that the provider puts the delivery id into; empty if
// the id stands in the body.
func idHeader(s *receiver.Source) string {
	for _, template := range s.Receiver().ID {
		if name, ok := strings.CutPrefix(template, "{header:"); ok {
			return strings.TrimSuffix(name, "}")
		}
	}
	return ""
}
