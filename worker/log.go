package worker

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
)

// logLine is the built-in handler log: a line with the event's attributes. The
// body is not in it: it may hold what no log should.
type logLine struct {
	level   slog.Level
	message string
	log     *slog.Logger
}

func newLog(c *config.Log, log *slog.Logger) (*logLine, error) {
	l := &logLine{message: c.Message, log: log}
	if err := l.level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, fmt.Errorf("log.level is %q: want debug, info, warn or error", c.Level)
	}
	return l, nil
}

// Handle writes the line.
func (l *logLine) Handle(ctx context.Context, e *event.Event) (*handler.Response, error) {
	l.log.LogAttrs(ctx, l.level, l.message,
		slog.String("id", e.ID), slog.String("source", e.Source), slog.String("type", e.Type),
		slog.String("key", e.Key), slog.Int("bytes", len(e.Body)), slog.Int("attempt", e.Attempt))
	return nil, nil
}
