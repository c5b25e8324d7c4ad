package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
)

// forward is the built-in handler http: it posts the event to an address, the
// body byte for byte, with the headers that were kept of the request.
//
// 2xx goes on with the chain, or ends it with the answer as its Response. 429 and 503
// with Retry-After wait for as long as it says; everything else is tried again as the
// policy says.
type forward struct {
	client  *http.Client
	url     string
	timeout time.Duration
	header  http.Header
	respond bool   // the answer is the Response
	keep    string // the value that the answer is left as; empty: none
}

// newHTTPClient returns the client that all http handlers share. Deadlines are
// the requests' own.
func newHTTPClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			MaxIdleConns:        1024,
			MaxIdleConnsPerHost: 256, // a chain posts to few hosts, and to those a lot
			IdleConnTimeout:     90 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second,
			ForceAttemptHTTP2:   true,
		},
		// A redirected POST arrives as a GET without a body, or twice.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func newHTTP(c *config.HTTP, client *http.Client) (*forward, error) {
	f := &forward{client: client, url: c.URL, timeout: c.Timeout.Std(), header: make(http.Header, len(c.Headers)), respond: c.Response, keep: c.Keep}
	for name, value := range c.Headers {
		f.header.Set(name, value)
	}
	if _, err := url.Parse(c.URL); err != nil {
		return nil, errors.New("http.url: want an absolute http or https URL") // the URL may hold a password
	}
	return f, nil
}

// The headers that say what is posted, besides those of the original request.
const (
	headerEventID        = "Belay-Event-Id"
	headerEventType      = "Belay-Event-Type"
	headerEventSource    = "Belay-Event-Source"
	headerEventAttempt   = "Belay-Attempt"
	headerIdempotencyKey = "Idempotency-Key"
)

// Handle posts the event.
func (f *forward) Handle(ctx context.Context, e *event.Event) (*handler.Response, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("no answer within %v", f.timeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(e.Body))
	if err != nil {
		return nil, handler.Never(fmt.Errorf("forward: %w", err))
	}
	maps.Copy(request.Header, e.Header)
	for name, value := range map[string]string{
		"Content-Type": e.ContentType, "Traceparent": e.Traceparent,
		headerEventID: escapeHeader(e.ID), headerEventType: escapeHeader(e.Type), headerEventSource: e.Source,
		headerEventAttempt: strconv.Itoa(e.Attempt), headerIdempotencyKey: e.IdempotencyKey(),
	} {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	maps.Copy(request.Header, f.header)
	response, err := f.client.Do(request)
	if err != nil {
		// The whole address is in the client's error, and may hold a secret.
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("forward to %s: %w", request.URL.Host, err)
	}
	defer response.Body.Close()
	// What is read to the end leaves the connection to the next request.
	defer func() { _, _ = io.CopyN(io.Discard, response.Body, 64<<10) }()
	if err := verdict(response, request.URL.Host); err != nil {
		return nil, err
	}
	return f.answered(e, response)
}

// maxKept bounds the answer that is left on the event. It is stored with each
// failure of a later handler.
const maxKept = 64 << 10

// answered makes of an answer what the chain is to have of it.
func (f *forward) answered(e *event.Event, response *http.Response) (*handler.Response, error) {
	if !f.respond && f.keep == "" {
		return nil, nil
	}
	host := response.Request.URL.Host
	body, err := io.ReadAll(io.LimitReader(response.Body, stream.MaxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("forward to %s: read the answer: %w", host, err)
	}
	if f.respond {
		r := &handler.Response{Status: response.StatusCode, Header: make(http.Header, 1), Body: body}
		if t := response.Header.Get("Content-Type"); t != "" {
			r.Header.Set("Content-Type", t)
		}
		return r, nil
	}
	if len(body) > maxKept {
		return nil, handler.Never(fmt.Errorf("forward to %s: the answer is larger than %d bytes, too large to keep", host, maxKept))
	}
	if json.Valid(body) {
		return nil, e.Values.Set(f.keep, json.RawMessage(body))
	}
	return nil, e.Values.Set(f.keep, string(body))
}

func verdict(response *http.Response, host string) error {
	if response.StatusCode >= 200 && response.StatusCode < 300 {
		return nil
	}
	err := fmt.Errorf("forward to %s: answered %s", host, response.Status)
	if response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable {
		if wait, ok := retryAfter(response.Header.Get("Retry-After"), time.Now()); ok {
			return handler.Later(wait, err)
		}
	}
	return err
}

// maxRetryAfter bounds what an answer may ask for.
const maxRetryAfter = time.Hour

// retryAfter reads the header's two forms, seconds and a date
// (https://www.rfc-editor.org/rfc/rfc9110#field.retry-after).
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
		return min(time.Duration(min(seconds, 1<<20))*time.Second, maxRetryAfter), true
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter), true
	}
	return 0, false
}

// escapeHeader makes any text fit for a header: a provider's id or event name is
// foreign bytes.
func escapeHeader(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return strconv.QuoteToASCII(s)
		}
	}
	return s
}
