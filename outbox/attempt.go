package outbox

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/stream"
)

// attempt is one try of a delivery, as ATTEMPTS keeps it.
type attempt struct {
	Delivery     string    `json:"delivery"`
	Subscription string    `json:"subscription"`
	Tenant       string    `json:"tenant"`
	Notification string    `json:"notification"` // the event's id
	Source       string    `json:"source"`
	Type         string    `json:"type"`
	Attempt      int       `json:"attempt"` // from 1
	At           time.Time `json:"at"`
	// Milliseconds from the connection to the end of the answer.
	Milliseconds float64    `json:"ms"`
	Verdict      decision   `json:"verdict"`
	Reason       Reason     `json:"reason"`
	Detail       string     `json:"detail,omitempty"`
	Next         *time.Time `json:"next,omitempty"` // when the next attempt is due
	Response     *response  `json:"response,omitempty"`
}

// response is what a subscriber answered.
type response struct {
	Status int                 `json:"status"`
	Header map[string][]string `json:"header,omitempty"`
	// Body is its first 16 KiB as text; bytes that are no UTF-8 are replaced.
	Body      string `json:"body,omitempty"`
	Truncated bool   `json:"truncated,omitempty"`
}

func newAttempt(d *delivery, at time.Time) *attempt {
	return &attempt{
		Delivery: d.id, Subscription: d.subscription, Tenant: d.event.Tenant,
		Notification: d.event.ID, Source: d.event.Source, Type: d.event.Type,
		Attempt: d.attempt, At: at.UTC(),
	}
}

// conclude adds what came of the attempt.
func (a *attempt) conclude(got answer, v verdict, took time.Duration) {
	a.Milliseconds = float64(took.Microseconds()) / 1000
	a.Verdict, a.Reason, a.Detail = v.decision, v.reason, got.detail
	if v.decision == retry {
		next := v.at.UTC()
		a.Next = &next
	}
	if got.status != 0 {
		a.Response = &response{
			Status: got.status, Header: got.header,
			Body: strings.ToValidUTF8(string(got.body), "\uFFFD"), Truncated: got.truncated,
		}
	}
}

func (a *attempt) message() (stream.Message, error) {
	data, err := json.Marshal(a)
	if err != nil {
		return stream.Message{}, fmt.Errorf("encode attempt %d of %s: %w", a.Attempt, a.Delivery, err)
	}
	return stream.Message{Subject: stream.AttemptSubject(a.Subscription), Data: data}, nil
}
