package main

import (
	"testing"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/worker"
)

func TestHello(t *testing.T) {
	for body, want := range map[string]string{`{"sender":{"login":"octocat"}}`: "done", `{"sender":1}`: "dead"} {
		e := &event.Event{ID: "1", Receiver: "github", Type: "github.push", Body: []byte(body)}
		got, err := worker.Try(t.Context(), hello, e)
		if err != nil || got.Outcome != want {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}
