package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Settings are what the owner of a subscription sets. What is left out is as the
// API says.
type Settings struct {
	URL            string                     `json:"url"`
	Description    string                     `json:"description,omitempty"`
	Filters        []string                   `json:"filters,omitempty"`
	PrivateFilters []string                   `json:"private_filters,omitempty"`
	When           string                     `json:"when,omitempty"`
	Headers        map[string]string          `json:"headers,omitempty"`
	Properties     map[string]json.RawMessage `json:"properties,omitempty"`
	Body           string                     `json:"body,omitempty"`
	Signing        string                     `json:"signing,omitempty"`
	Secret         string                     `json:"secret,omitempty"`
	Paused         bool                       `json:"paused,omitempty"`
	RateLimit      float64                    `json:"rate_limit,omitempty"`
	Concurrency    int                        `json:"concurrency,omitempty"`
	Schedule       []string                   `json:"schedule,omitzero"`
	Timeout        string                     `json:"timeout,omitempty"`
}

// Subscription is a subscription as the API shows it. Its secret is there only
// where it was just made.
type Subscription struct {
	Settings
	ID       string    `json:"id"`
	Tenant   string    `json:"tenant"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
	Disabled *struct {
		Since  time.Time `json:"since"`
		Reason string    `json:"reason"`
	} `json:"disabled,omitempty"`
	Secrets []struct {
		Created   time.Time `json:"created"`
		Expires   time.Time `json:"expires,omitzero"`
		PublicKey string    `json:"public_key,omitempty"`
	} `json:"secrets"`
}

const subscriptions = "/v1/subscriptions"

func one(id, verb string) string { return subscriptions + "/" + url.PathEscape(id) + verb }

// Subscriptions are all of the tenant, by the time they were made. The sequence
// ends with the first error.
func (c *Client) Subscriptions(ctx context.Context) iter.Seq2[*Subscription, error] {
	return pages[Subscription](ctx, c, subscriptions, "subscriptions", url.Values{})
}

// pages are all entries of a list, whose field has this name.
func pages[T any](ctx context.Context, c *Client, path, field string, query url.Values) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		query.Set("limit", "500")
		for {
			entries, next, err := Page[T](ctx, c, path, field, query)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range entries {
				if !yield(&entries[i], nil) {
					return
				}
			}
			if next == "" {
				return
			}
			query.Set("cursor", next)
		}
	}
}

// Page is one page of a list, whose field has this name, and the cursor of the next
// one; empty on the last.
func Page[T any](ctx context.Context, c *Client, path, field string, query url.Values) (entries []T, next string, err error) {
	var page map[string]json.RawMessage
	if _, err := c.Call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &page); err != nil {
		return nil, "", err
	}
	if err := json.Unmarshal(page[field], &entries); err != nil {
		return nil, "", fmt.Errorf("read the field %s of the answer: %w", field, err)
	}
	if raw, more := page["next"]; more {
		err = json.Unmarshal(raw, &next)
	}
	return entries, next, err
}

func (c *Client) subscription(ctx context.Context, method, path string, body any) (*Subscription, error) {
	var s Subscription
	if _, err := c.Call(ctx, method, path, body, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// Create makes a subscription, and returns it with its secret.
func (c *Client) Create(ctx context.Context, s Settings) (*Subscription, error) {
	return c.subscription(ctx, http.MethodPost, subscriptions, s)
}

// Get reads a subscription.
func (c *Client) Get(ctx context.Context, id string) (*Subscription, error) {
	return c.subscription(ctx, http.MethodGet, one(id, ""), nil)
}

// Patch changes some settings, by a JSON merge patch: nil puts one back to what it
// is by default.
func (c *Client) Patch(ctx context.Context, id string, patch map[string]any) (*Subscription, error) {
	return c.subscription(ctx, http.MethodPatch, one(id, ""), patch)
}

// Pause pauses a subscription.
func (c *Client) Pause(ctx context.Context, id string) (*Subscription, error) {
	return c.subscription(ctx, http.MethodPost, one(id, "/pause"), nil)
}

// Resume resumes a subscription that is paused or was disabled.
func (c *Client) Resume(ctx context.Context, id string) (*Subscription, error) {
	return c.subscription(ctx, http.MethodPost, one(id, "/resume"), nil)
}

// Rotate gives a subscription a new secret, and returns it with that. The old one
// is signed with for the overlap.
func (c *Client) Rotate(ctx context.Context, id string, overlap time.Duration) (*Subscription, error) {
	return c.subscription(ctx, http.MethodPost, one(id, "/rotate"), map[string]string{"overlap": overlap.String()})
}

// Delete deletes a subscription.
func (c *Client) Delete(ctx context.Context, id string) error {
	_, err := c.Call(ctx, http.MethodDelete, one(id, ""), nil, nil)
	return err
}

// Verify asks the subscriber whether it wants webhooks.
func (c *Client) Verify(ctx context.Context, id string) error {
	_, err := c.Call(ctx, http.MethodPost, one(id, "/verify"), nil, nil)
	return err
}

// Tested is what came of a test.
type Tested struct {
	// Status that the subscriber answered; 0: no answer.
	Status         int
	Reason, Detail string
	// Milliseconds from the connection to the end of the answer.
	Milliseconds float64 `json:"ms"`
	Body         string
}

// Test makes one attempt now, of an event of a type with data, or of belay.test
// where they are empty.
func (c *Client) Test(ctx context.Context, id, eventType string, data json.RawMessage) (*Tested, error) {
	body := map[string]any{}
	if eventType != "" {
		body["type"] = eventType
	}
	if data != nil {
		body["data"] = data
	}
	var t Tested
	if _, err := c.Call(ctx, http.MethodPost, one(id, "/test"), body, &t); err != nil {
		return nil, err
	}
	return &t, nil
}

// Notification is a CloudEvent whose data is JSON.
type Notification struct {
	ID     string          `json:"id"`
	Source string          `json:"source"`
	Type   string          `json:"type"`
	Data   json.RawMessage `json:"data,omitempty"`
	// When is a condition in CEL that subscriptions must meet, over subscription, event
	// and body; empty: it is for all.
	When string `json:"-"`
}

// AllTenants is what [Client.In] takes to notify the subscriptions of every tenant.
const AllTenants = "*"

// Notify hands the outbox a notification. It reports whether its source and id were
// accepted before: then nothing is sent again.
func (c *Client) Notify(ctx context.Context, n Notification) (duplicate bool, err error) {
	body := struct {
		SpecVersion string `json:"specversion"`
		Notification
	}{"1.0", n}
	var answer struct{ Duplicate bool }
	path := "/v1/notifications"
	if n.When != "" {
		path += "?" + url.Values{"when": {n.When}}.Encode()
	}
	_, err = c.call(ctx, http.MethodPost, path, "application/cloudevents+json", body, &answer)
	return answer.Duplicate, err
}

// Key is an API key. Its text is there only where it was just made.
type Key struct {
	ID          string    `json:"id"`
	Tenant      string    `json:"tenant"`
	Access      string    `json:"access"`
	Description string    `json:"description"`
	Prefix      string    `json:"prefix"`
	Created     time.Time `json:"created"`
	By          string    `json:"by"`
	Key         string    `json:"key,omitempty"`
}

// CreateKey makes a key for reading or writing (read, write), and returns it with
// its text. It wants the operator's key, like the other calls about keys.
func (c *Client) CreateKey(ctx context.Context, access, description string) (*Key, error) {
	var k Key
	if _, err := c.Call(ctx, http.MethodPost, "/v1/keys", map[string]string{"access": access, "description": description}, &k); err != nil {
		return nil, err
	}
	return &k, nil
}

// Keys are all keys of the tenant.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	var answer struct{ Keys []Key }
	_, err := c.Call(ctx, http.MethodGet, "/v1/keys", nil, &answer)
	return answer.Keys, err
}

// RevokeKey makes a key worthless.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	_, err := c.Call(ctx, http.MethodDelete, "/v1/keys/"+url.PathEscape(id), nil, nil)
	return err
}
