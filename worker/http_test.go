package worker

import (
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/event"
)

func TestFailedForwardDoesNotTellTheAddress(t *testing.T) {
	f, err := newHTTP(&config.HTTP{URL: "http://127.0.0.1:1/hooks/T0KEN", Timeout: config.Duration(time.Second)}, newHTTPClient())
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Handle(t.Context(), &event.Event{ID: "e", Type: "a.t"})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "T0KEN") {
		t.Errorf("got %v", err)
	}
}
