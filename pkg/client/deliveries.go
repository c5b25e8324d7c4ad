package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Delivery is one notification for one subscription. Its ID is the webhook-id of its
// requests.
type Delivery struct {
	ID           string    `json:"id"`
	State        string    `json:"state"` // pending, delivered, gone, dead, cancelled
	Subscription string    `json:"subscription"`
	Notification string    `json:"notification"`
	Source       string    `json:"source"`
	Type         string    `json:"type"`
	Created      time.Time `json:"created"`
	// Attempts that were made, Last when the last one was, or what else ended it, and
	// what came of it.
	Attempts int       `json:"attempts"`
	Last     time.Time `json:"last,omitzero"`
	Reason   string    `json:"reason,omitempty"`
	Status   int       `json:"status,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	// Next is when a pending one is due, WaitsFor why not earlier.
	Next     time.Time `json:"next,omitzero"`
	WaitsFor string    `json:"waits_for,omitempty"`
	// History are the attempts, and Body the data, of a single one. Bytes that are no
	// text are in BodyBase64.
	History     []Attempt `json:"history,omitempty"`
	ContentType string    `json:"content_type,omitempty"`
	Body        *string   `json:"body,omitempty"`
	BodyBase64  string    `json:"body_base64,omitempty"`
	Truncated   bool      `json:"body_truncated,omitempty"`
}

// Attempt is one request of a delivery, or what else was decided about it.
type Attempt struct {
	Attempt      int       `json:"attempt"`
	At           time.Time `json:"at"`
	Milliseconds float64   `json:"ms"`
	Verdict      string    `json:"verdict"`
	Reason       string    `json:"reason"`
	Detail       string    `json:"detail,omitempty"`
	Next         time.Time `json:"next,omitzero"`
	// Unsent says that there was no request, By who has ordered it.
	Unsent   bool   `json:"unsent,omitempty"`
	By       string `json:"by,omitempty"`
	Request  *Said  `json:"request,omitempty"`
	Response *Said  `json:"response,omitempty"`
}

// Said is the head of a request, or a response.
type Said struct {
	Status    int                 `json:"status,omitempty"`
	Header    map[string][]string `json:"header,omitempty"`
	Body      string              `json:"body,omitempty"`
	Truncated bool                `json:"truncated,omitempty"`
}

// DeliveryFilter selects deliveries. An empty field selects all.
type DeliveryFilter struct {
	Subscription string    `json:"subscription,omitempty"`
	Notification string    `json:"notification,omitempty"`
	Type         string    `json:"type,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	From         time.Time `json:"from,omitzero"`
	Until        time.Time `json:"until,omitzero"`
}

// Query is the filter as the parameters of a list.
func (f DeliveryFilter) Query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{
		"subscription": f.Subscription, "notification": f.Notification, "type": f.Type, "reason": f.Reason,
		"from": timeText(f.From), "until": timeText(f.Until),
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

func timeText(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}

// DeliveriesPath is where the API has deliveries.
const DeliveriesPath = "/v1/deliveries"

// Deliveries are those of the tenant in a state, or all that were attempted where that
// is empty, the newest first. The sequence ends with the first error.
func (c *Client) Deliveries(ctx context.Context, state string, f DeliveryFilter) iter.Seq2[*Delivery, error] {
	q := f.Query()
	if state != "" {
		q.Set("state", state)
	}
	return pages[Delivery](ctx, c, DeliveriesPath, "deliveries", q)
}

func (c *Client) delivery(ctx context.Context, method, id, verb string) (*Delivery, error) {
	var d Delivery
	if _, err := c.Call(ctx, method, DeliveriesPath+"/"+url.PathEscape(id)+verb, nil, &d); err != nil {
		return nil, err
	}
	return &d, nil
}

// Delivery reads one, with its history and its body.
func (c *Client) Delivery(ctx context.Context, id string) (*Delivery, error) {
	return c.delivery(ctx, http.MethodGet, id, "")
}

// Retry makes the next attempt of a delivery now; one that has ended is sent again.
func (c *Client) Retry(ctx context.Context, id string) (*Delivery, error) {
	return c.delivery(ctx, http.MethodPost, id, "/retry")
}

// Cancel ends a delivery that waits.
func (c *Client) Cancel(ctx context.Context, id string) (*Delivery, error) {
	return c.delivery(ctx, http.MethodPost, id, "/cancel")
}

// Job is work over many deliveries.
type Job struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`  // redeliver, recover
	State   string    `json:"state"` // running, paused, done, cancelled
	Total   uint64    `json:"total"`
	Handled uint64    `json:"handled"`
	Skipped uint64    `json:"skipped,omitempty"`
	Error   string    `json:"error,omitempty"`
	Created time.Time `json:"created"`
	Ended   time.Time `json:"ended,omitzero"`
}

// NewJob is a request for work over many deliveries: redeliver puts back what is dead
// and the filter selects; recover sends a subscription what it has missed since
// Filter.From.
type NewJob struct {
	Kind   string         `json:"kind"`
	Filter DeliveryFilter `json:"filter"`
	// Rate is how many a second are sent at most; 0 is the API's.
	Rate int    `json:"rate,omitempty"`
	Why  string `json:"why,omitempty"`
}

// CreateJob begins a job.
func (c *Client) CreateJob(ctx context.Context, request NewJob) (*Job, error) {
	var j Job
	if _, err := c.Call(ctx, http.MethodPost, "/v1/jobs", request, &j); err != nil {
		return nil, err
	}
	return &j, nil
}

// Job tells how a job gets on.
func (c *Client) Job(ctx context.Context, id string) (*Job, error) {
	var j Job
	if _, err := c.Call(ctx, http.MethodGet, "/v1/jobs/"+url.PathEscape(id), nil, &j); err != nil {
		return nil, err
	}
	return &j, nil
}

// Health is how the endpoint of a subscription does, by the attempts that are kept.
type Health struct {
	State         string    `json:"state"` // unknown, serving, failing, disabled
	LastDelivered time.Time `json:"last_delivered,omitzero"`
	FailingSince  time.Time `json:"failing_since,omitzero"`
	LastFailure   *Attempt  `json:"last_failure,omitempty"`
	// DisabledAt is when the subscription was disabled, or will be if this goes on.
	DisabledAt time.Time `json:"disabled_at,omitzero"`
	// Delivered and Failed are the attempts of the last 24 hours.
	Delivered uint64 `json:"delivered_24h"`
	Failed    uint64 `json:"failed_24h"`
}

// Health tells how the endpoint of a subscription does.
func (c *Client) Health(ctx context.Context, id string) (*Health, error) {
	var h Health
	if _, err := c.Call(ctx, http.MethodGet, one(id, "/health"), nil, &h); err != nil {
		return nil, err
	}
	return &h, nil
}
