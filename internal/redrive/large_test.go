package redrive_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/redrive"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// A dead letter whose headers are as many as the broker takes is closed all the same:
// what is left out of the record is what is missed least.
func TestLetterWithManyHeadersIsClosed(t *testing.T) {
	for _, verb := range []string{standing.Discarded, standing.Redriven} {
		t.Run(verb, func(t *testing.T) {
			b := newBench(t)
			id := stream.LetterID{Chain: "c", Place: stream.Place{Seq: 1}}
			for size := 65_000; ; size -= 20 {
				e := &event.Event{
					ID: "e", Source: "/github/default", Type: "github.push", Receiver: "github", SourceID: "default", Time: time.Now(),
					Header: http.Header{"X-Github-Hook-Id": {strings.Repeat("1", size)}}, Body: b.body,
				}
				header, data := e.Encode()
				l := standing.Letter{LetterID: id, Handler: "b", Order: 2, Reason: "attempts_exhausted", Whole: true}
				if err := l.Describe(header, len(data)); err != nil {
					t.Fatal(err)
				}
				if _, err := b.broker.Publish(t.Context(), stream.Message{Subject: stream.DeadEvent(id), Header: header, Data: data}); err == nil {
					break // the largest that fits
				}
			}
			why := strings.Repeat("w", 1024)
			if err := b.desk.Settle(t.Context(), id, redrive.Order{Verb: verb, By: "ann", Why: why}); err != nil {
				t.Fatal(err)
			}
			l, _, err := b.desk.Letter(t.Context(), id)
			if err != nil || l.Closed == nil || l.Closed.Verb != verb || l.Closed.Why != why || l.Event == nil || l.Event.ID != "e" {
				t.Errorf("the record: %+v, %v", l, err)
			}
		})
	}
}
