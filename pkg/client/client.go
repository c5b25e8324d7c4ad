// Package client calls the REST API of an outbox: subscriptions, notifications,
// deliveries and API keys. What the API takes and answers stands in its /v1/openapi.yaml.
//
//	c, err := client.New("http://127.0.0.1:8081", os.Getenv("BELAY_API_KEY"))
//	sub, err := c.Create(ctx, client.Settings{URL: "https://example.com/hook", Filters: []string{"deploy.*"}})
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client calls the API of one outbox. It may be used by several goroutines.
type Client struct {
	base   string
	key    string
	tenant string
	http   *http.Client
}

// timeout bounds a call: a test of a subscription waits for the subscriber.
const timeout = 2 * time.Minute

// maxAnswer bounds an answer in bytes: a page of 500 subscriptions.
const maxAnswer = 64 << 20

// New returns a client of the outbox at a URL, with an API key. It fails if that is
// no URL.
func New(base, key string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("want the address of the API, such as http://127.0.0.1:8081")
	}
	return &Client{
		base: strings.TrimSuffix(base, "/"), key: key,
		http: &http.Client{Timeout: timeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute}},
	}, nil
}

// In returns a client for another tenant. That is for the operator's key.
func (c *Client) In(tenant string) *Client {
	other := *c
	other.tenant = tenant
	return &other
}

// Problem is what the API answers when it refuses (RFC 9457).
type Problem struct {
	Status int
	Detail string
	Errors []FieldProblem
}

// FieldProblem says what is wrong with one field, header or query parameter.
type FieldProblem struct{ Pointer, Header, Parameter, Detail string }

// Error is the problem, with a line for each field.
func (p *Problem) Error() string {
	text := p.Detail
	if len(p.Errors) > 0 {
		text = "the request is not valid:"
	}
	for _, e := range p.Errors {
		text += "\n  " + strings.TrimPrefix(e.Pointer+e.Header+e.Parameter, "#/") + ": " + e.Detail
	}
	return text
}

// Call makes a request that the other methods have no name for, or one of a console,
// which answers in the same forms: of a path such as /v1/keys, with a body as JSON
// unless it is nil. The answer is read into a value
// unless that is nil, and returned as text. It fails with a [*Problem] if the API
// refuses.
func (c *Client) Call(ctx context.Context, method, path string, body, into any) ([]byte, error) {
	return c.call(ctx, method, path, "application/json", body, into)
}

func (c *Client) call(ctx context.Context, method, path, contentType string, body, into any) ([]byte, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", contentType)
	}
	if c.key != "" {
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	if c.tenant != "" {
		r.Header.Set("Belay-Tenant", c.tenant)
	}
	response, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", r.URL.Host, err)
	}
	if response.StatusCode >= 300 {
		return nil, problem(response, answer)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			return nil, fmt.Errorf("read the answer of %s: %w", r.URL.Host, err)
		}
	}
	return bytes.TrimSpace(answer), nil
}

func problem(response *http.Response, answer []byte) *Problem {
	p := &Problem{}
	if err := json.Unmarshal(answer, p); err != nil || p.Detail == "" {
		p.Detail = response.Request.URL.Host + " answered " + response.Status
	}
	p.Status = response.StatusCode
	return p
}
