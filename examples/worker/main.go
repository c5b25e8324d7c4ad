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

func main() { worker.Main(hello) }

var hello = handler.Chain{Name: "hello", From: []string{"github"}, Steps: []handler.Step{
	{Name: "greet", Handler: handler.Typed(greet)},
}}

// A delivery is what greet wants to know of what GitHub sends.
type delivery struct {
	Sender struct{ Login string }
}

func greet(ctx context.Context, e *event.Event, d delivery) error {
	slog.InfoContext(ctx, "hello "+d.Sender.Login, "type", e.Type, "key", e.IdempotencyKey())
	return nil
}
