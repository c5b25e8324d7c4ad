package console

import (
	"net/http"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
)

// eventView is the JSON form of an event's attributes.
type eventView struct {
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Time        time.Time `json:"time,omitzero"`
	Receiver    string    `json:"receiver,omitempty"`
	SourceID    string    `json:"source_id,omitempty"`
	Key         string    `json:"key,omitempty"`
	ContentType string    `json:"content_type,omitempty"`
}

func viewEvent(e *event.Event) *eventView {
	if e == nil {
		return nil
	}
	return &eventView{
		ID: e.ID, Source: e.Source, Type: e.Type, Time: e.Time,
		Receiver: e.Receiver, SourceID: e.SourceID, Key: e.Key, ContentType: e.ContentType,
	}
}

// letterView is the JSON form of a dead letter.
type letterView struct {
	ID       string     `json:"id"`
	State    string     `json:"state"` // open, redriven, discarded
	Chain    string     `json:"chain"`
	Run      int        `json:"run"`
	Redrives int        `json:"redrives"`
	Event    *eventView `json:"event,omitempty"`
	Handler  string     `json:"handler,omitempty"`
	Reason   string     `json:"reason"`
	// Error of the last attempt.
	Error    string      `json:"error,omitempty"`
	Attempts int         `json:"attempts"`
	Died     time.Time   `json:"died"`
	Bytes    int         `json:"bytes"`
	Whole    bool        `json:"whole"` // it can be redriven
	Closed   *closedView `json:"closed,omitempty"`

	// The rest is shown of a single one.

	Header   http.Header        `json:"headers,omitempty"`
	Failures []standing.Failure `json:"failures,omitempty"`
	rest.Body
}

type closedView struct {
	By  string    `json:"by"`
	At  time.Time `json:"at"`
	Why string    `json:"why,omitempty"`
	Job string    `json:"job,omitempty"`
	// Run that the redrive began; missing where it went on at the failed step.
	Run int `json:"run,omitempty"`
}

func viewLetter(l *standing.Letter) letterView {
	v := letterView{
		ID: l.String(), State: open, Chain: l.Chain, Run: l.Run, Redrives: l.Redrives,
		Event: viewEvent(l.Event), Handler: l.Handler, Reason: l.Reason, Attempts: l.Attempts,
		Died: l.Died, Bytes: l.Bytes, Whole: l.Whole,
	}
	if n := len(l.Failures); n > 0 {
		v.Error = l.Failures[n-1].Error
	}
	if c := l.Closed; c != nil {
		v.State, v.Closed = c.Verb, &closedView{By: c.By, At: c.At, Why: c.Why, Job: c.Job, Run: c.Run}
	}
	return v
}
