package worker_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/worker"
)

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// A chain that a reload has removed keeps its backlog, which is told.
func TestRemovedChainIsReported(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	log := &lockedBuffer{}
	kept := handler.Chain{Name: "kept", Steps: []handler.Step{c.step(1, "h", nil)}}
	gone := handler.Chain{Name: "gone", Steps: []handler.Step{c.step(1, "h", nil)}}
	w, err := worker.New(t.Context(), worker.Config{Broker: b, Logger: slog.New(slog.NewTextHandler(log, nil))}, kept, gone)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	if err := w.Reload(t.Context(), 0, kept); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return !backlog(t, b, "gone").Attended && backlog(t, b, "kept").Attended })
	publish(t, b, "e", "push")
	waitFor(t, func() bool { return strings.Contains(log.String(), "no worker runs this chain") })
	if text := log.String(); !strings.Contains(text, "chain=gone events=1") || strings.Contains(text, "chain=kept events") {
		t.Errorf("the log says %s", text)
	}
}
