// Command worker is a worker with a handler in Go. It runs beside an ingress:
//
//	BELAY_NATS_URL=nats://127.0.0.1:4222 go run ./examples/worker
package main

import (
	"context"
	"log/slog"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/worker"
)

func main() {
	worker.Main(handler.Chain{Name: "hello", From: []string{"github"}, Steps: []handler.Step{
		{Order: 10, Name: "greet", Handler: handler.Do(greet)},
	}})
}

func greet(ctx context.Context, e *event.Event) error {
	slog.InfoContext(ctx, "hello", "type", e.Type, "bytes", len(e.Body), "key", e.IdempotencyKey)
	return nil
}
