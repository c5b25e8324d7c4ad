package outbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	quick "github.com/segmentio/encoding/json" // a record is written for each request: half the time

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// headerRecord is where a message of ATTEMPTS has all of the attempt but what was
// said: a list of many reads headers only.
const headerRecord = "belay-record"

// usualRecord is how many bytes either half of an attempt takes at most, as a rule.
const usualRecord = 512

// attempt is one try of a delivery, as ATTEMPTS keeps it:
//
//	┌─ headers ──────────────────────────────┐
//	│ belay-record: the attempt, JSON        │
//	├─ data ─────────────────────────────────┤
//	│ its request and its response, JSON     │
//	└────────────────────────────────────────┘
type attempt struct {
	Delivery     string    `json:"delivery"`
	Subscription string    `json:"subscription"`
	Tenant       string    `json:"tenant"`
	Notification string    `json:"notification"` // the event's id
	Source       string    `json:"source"`
	Type         string    `json:"type"`
	Notified     uint64    `json:"notified,omitempty"` // its number in NOTIFY
	Attempt      int       `json:"attempt"`            // from 1
	At           time.Time `json:"at"`
	// Milliseconds from the connection to the end of the answer.
	Milliseconds float64    `json:"ms"`
	Verdict      decision   `json:"verdict"`
	Reason       Reason     `json:"reason"`
	Detail       string     `json:"detail,omitempty"`
	Status       int        `json:"status,omitempty"` // that was answered; 0: nothing was
	Next         *time.Time `json:"next,omitempty"`   // when the next attempt is due
	// Unsent says that there was no request: the delivery was given up, or cancelled.
	Unsent bool `json:"unsent,omitempty"`
	// By is who has ordered it; empty: the schedule did.
	By string `json:"by,omitempty"`

	exchange `json:"-"`
	seq      uint64 // in ATTEMPTS
}

// exchange is what was said in an attempt.
type exchange struct {
	Request  *sent     `json:"request,omitempty"`
	Response *response `json:"response,omitempty"`
}

// sent is what a subscriber was sent. The body is that of the notification.
type sent struct {
	// Header without the values of those that the subscription has set, and without
	// signatures.
	Header map[string][]string `json:"header,omitempty"`
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
		Notified: d.notified, Attempt: d.attempt, At: at.UTC(), By: d.by,
	}
}

// conclude adds what came of the attempt.
func (a *attempt) conclude(got answer, v verdict, took time.Duration) {
	a.Milliseconds = float64(took.Microseconds()) / 1000
	a.Verdict, a.Reason, a.Detail = v.decision, v.reason, headerSafe(got.detail)
	if v.decision == retry {
		next := v.at.UTC()
		a.Next = &next
	}
	if a.Unsent = got.sent == nil; !a.Unsent {
		a.Request = &sent{got.sent}
	}
	if a.Status = got.status; got.status != 0 {
		a.Response = &response{
			Status: got.status, Header: withoutCookies(got.header),
			Body: strings.ToValidUTF8(string(got.body), "\uFFFD"), Truncated: got.truncated,
		}
	}
}

// message is the record of the attempt. It has no id for the broker, which would cost it
// as much as storing the record does; see [shard.record].
func (a *attempt) message() (stream.Message, error) {
	record, err := quick.Append(make([]byte, 0, usualRecord), a, 0)
	if err != nil {
		return stream.Message{}, fmt.Errorf("encode attempt %d of %s: %w", a.Attempt, a.Delivery, err)
	}
	data, err := quick.Append(make([]byte, 0, usualRecord), &a.exchange, 0)
	if err != nil {
		return stream.Message{}, fmt.Errorf("encode attempt %d of %s: %w", a.Attempt, a.Delivery, err)
	}
	return stream.Message{
		Subject: stream.AttemptSubject(a.Tenant, a.Subscription, string(a.Verdict)),
		Header:  map[string][]string{headerRecord: {string(record)}}, Data: data,
	}, nil
}

// same tells whether another record is of the same attempt: its time tells it from that
// of the same attempt that another process makes again.
func (a *attempt) same(b *attempt) bool {
	return a.Delivery == b.Delivery && a.Attempt == b.Attempt && a.At.Equal(b.At)
}

// readAttempt reads what message wrote; without the data it is without the exchange.
func readAttempt(m *stream.Stored) (*attempt, error) {
	a := &attempt{seq: m.Seq}
	err := json.Unmarshal([]byte(event.HeaderValue(m.Header, headerRecord)), a)
	if err == nil && len(m.Data) > 0 {
		err = json.Unmarshal(m.Data, &a.exchange)
	}
	if err != nil {
		return nil, fmt.Errorf("read message %d of %s: %w", m.Seq, stream.Attempts, err)
	}
	return a, nil
}

// withoutCookies is the header of an answer as it may be kept: a cookie is a credential
// for the subscriber's server.
func withoutCookies(header http.Header) http.Header {
	if header["Set-Cookie"] == nil {
		return header
	}
	kept := header.Clone()
	kept["Set-Cookie"] = []string{hidden}
	return kept
}
