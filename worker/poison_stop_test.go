package worker_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

// A worker that stops while an event waits to be run alone has not begun with it: what
// is counted of the times that it has ended a worker stays.
func TestStopBeforeAnEventIsRunAlone(t *testing.T) {
	b := testbroker.New(t)
	publish(t, b, "slow", "push")
	publish(t, b, "poison", "issues")
	place := stream.Place{Seq: 2}
	data, err := json.Marshal(standing.Progress{Begun: 4})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Bucket(stream.Progress).Put(t.Context(), stream.ProgressKey("c", place), data); err != nil {
		t.Fatal(err)
	}
	var c calls
	running, release := make(chan struct{}), make(chan struct{})
	slow := handler.Chain{Name: "slow", Events: []string{"push"}, Earliest: true, Steps: []handler.Step{
		c.step(1, "h", func(*event.Event) (*handler.Response, error) {
			close(running)
			<-release
			return nil, nil
		}),
	}}
	poison := handler.Chain{Name: "c", Events: []string{"issues"}, Earliest: true, Steps: []handler.Step{c.step(1, "h", nil)}}
	log := &lockedBuffer{}
	w, err := worker.New(t.Context(), worker.Config{
		Broker: b, Grace: time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil)),
	}, slow)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	<-running
	if err := w.Reload(t.Context(), 1, poison); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return strings.Contains(log.String(), "is run alone") })
	stop()
	waitFor(t, func() bool { return strings.Contains(log.String(), "event given back") })
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	p, _, err := standing.NewLog(b).Find(t.Context(), "c", place)
	if err != nil || p.Begun != 4 {
		t.Errorf("%d beginnings are counted, want 4: %v", p.Begun, err)
	}
}
