package outbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/belay-hooks/belay/pkg/event"
)

// Subscription is an outgoing registration: who wants to be told of which
// notifications, where, and how.
type Subscription struct {
	// ID names the subscription; ids sort by the time they were made.
	ID string `json:"id"`
	// Tenant owns it and alone sees it.
	Tenant string `json:"tenant"`
	// URL is where its deliveries are posted.
	URL string `json:"url"`
	// Description is for people.
	Description string `json:"description,omitempty"`
	// Filters are patterns of event types: deploy.*, *. One match is enough.
	Filters []string `json:"filters"`
	// PrivateFilters are more of them, which the operator sets and alone sees.
	PrivateFilters []string `json:"private_filters,omitempty"`
	// When is a condition in CEL that the event must meet besides; empty: none.
	When string `json:"when,omitempty"`
	// Headers are sent with every delivery. Their values can be credentials, so
	// reading one's subscription shows their names only.
	Headers map[string]string `json:"headers,omitempty"`
	// Properties are sent with every delivery whose body has room for them.
	Properties map[string]json.RawMessage `json:"properties,omitempty"`
	// Body is the form of the requests.
	Body BodyShape `json:"body"`
	// Signing is how requests are signed. It stays as the subscription was made.
	Signing Signing `json:"signing"`
	// Paused subscriptions get nothing of what is notified meanwhile.
	Paused bool `json:"paused"`
	// RateLimit is how many attempts a second are made at most; 0 is no limit.
	RateLimit float64 `json:"rate_limit,omitempty"`
	// Concurrency is how many attempts run at once at most; 0 is the outbox's.
	Concurrency int `json:"concurrency,omitempty"`
	// Schedule is how long to wait after each failed attempt; nil is the
	// outbox's, an empty one makes one attempt.
	Schedule []Duration `json:"schedule,omitzero"`
	// Timeout bounds one attempt; 0 is the outbox's.
	Timeout Duration `json:"timeout,omitempty"`
	// Created is when it was made, Updated when its owner changed it last.
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
	// Disabled says why nothing is sent to it any more; nil while it is enabled.
	Disabled *Disabled `json:"disabled,omitempty"`

	secrets  []secret // newest first
	revision uint64   // of the bucket
	size     int      // of what the bucket keeps, in bytes
}

// BodyShape is the form of the requests to a subscription.
type BodyShape string

// The shapes of bodies.
const (
	// BodyRaw is the data of the event as it was notified.
	BodyRaw BodyShape = "raw"
	// BodyASPNet is that of ASP.NET WebHooks: Id, Attempt, Properties,
	// Notifications.
	BodyASPNet BodyShape = "aspnet"
	// BodyCloudEvents is the event in the JSON format of CloudEvents.
	BodyCloudEvents BodyShape = "cloudevents"
)

// Disabled says since when and why nothing is sent to a subscription.
type Disabled struct {
	Since  time.Time `json:"since"`
	Reason Reason    `json:"reason"`
}

// Duration is a duration that is written as 1m30s.
type Duration time.Duration

// String is the duration in Go's form.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// newSubscriptionID returns an id whose order is the order of time.
func newSubscriptionID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make a subscription id: %w", err)
	}
	return "sub_" + strings.ReplaceAll(id.String(), "-", ""), nil
}

// onlyPrefix begins the ids that stand for a URL and are no subscription's.
const onlyPrefix = "to_"

// onlyFor stands for the subscription that a notification does not have which is
// for one URL. All of a host share its id, and so one place in the outbox.
func onlyFor(e *event.Event) *Subscription {
	return &Subscription{ID: onlyPrefix + digest(hostOf(e.To)), Tenant: e.Tenant, URL: e.To, Body: BodyRaw, Signing: SigningV1}
}

// key is where the subscription is kept in its bucket.
func (s *Subscription) key() string { return subscriptionKey(s.Tenant, s.ID) }

func subscriptionKey(tenant, id string) string { return tenant + "." + id }

// takes reports whether new notifications become deliveries.
func (s *Subscription) takes() bool { return s.Disabled == nil && !s.Paused }

// wants reports whether one of its filters selects a type of events.
func (s *Subscription) wants(eventType string) bool {
	return slices.ContainsFunc(s.allFilters(), func(filter string) bool {
		p, err := event.ParsePattern(filter)
		return err == nil && p.Match(eventType)
	})
}

// allFilters are the filters that its owner set and those of the operator.
func (s *Subscription) allFilters() []string { return slices.Concat(s.Filters, s.PrivateFilters) }
