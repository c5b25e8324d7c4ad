package standing

import (
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
)

// Filter selects dead letters, stored events, or deliveries. An empty field selects
// all.
type Filter struct {
	// Chain that has given the event up; not for stored events.
	Chain string `json:"chain,omitempty"`
	// Type is a pattern of the event's name (pull_request.*) or of its whole type.
	Type string `json:"type,omitempty"`
	// Source is a receiver (github) or one of its sources (github/eu).
	Source string `json:"source,omitempty"`
	// Reason for which it was given up; not for stored events.
	Reason string `json:"reason,omitempty"`
	// Subscription and Notification are of deliveries: whose they are, and the id of
	// the event that they tell of.
	Subscription string `json:"subscription,omitempty"`
	Notification string `json:"notification,omitempty"`
	// From and Until bound when it was given up, or stored: at From or later, before
	// Until.
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Bad tells what is wrong with it, field by field.
func (f *Filter) Bad(say func(field, detail string)) {
	if f.Chain != "" && !ValidChain(f.Chain) {
		say("chain", "want the name of a chain")
	}
	if f.Type != "" {
		if _, err := event.ParsePattern(f.Type); err != nil {
			say("type", err.Error())
		}
	}
	if !f.From.IsZero() && !f.Until.IsZero() && !f.From.Before(f.Until) {
		say("until", "want a time after from")
	}
}

// Letter reports whether the filter selects a dead letter.
func (f *Filter) Letter(l *Letter) bool {
	switch {
	case f.Chain != "" && f.Chain != l.Chain:
	case f.Reason != "" && f.Reason != l.Reason:
	case !f.From.IsZero() && l.Died.Before(f.From):
	case !f.Until.IsZero() && !l.Died.Before(f.Until):
	case l.Event == nil:
		return f.Type == "" && f.Source == ""
	default:
		return f.Event(l.Event)
	}
	return false
}

// Event reports whether type and source select an event.
func (f *Filter) Event(e *event.Event) bool {
	if f.Source != "" {
		receiver, source, one := strings.Cut(f.Source, "/")
		if receiver != e.Receiver || one && source != e.SourceID {
			return false
		}
	}
	if f.Type == "" {
		return true
	}
	p, err := event.ParsePattern(f.Type)
	return err == nil && (p.Match(e.Name()) || p.Match(e.Type))
}

// ValidChain reports whether a name can be that of a chain.
func ValidChain(name string) bool {
	return name != "" && len(name) <= 63 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
