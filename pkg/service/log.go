package service

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/lmittmann/tint"
)

// The forms of a log.
const (
	LogJSON = "json" // one JSON object a line, for machines
	LogText = "text" // short lines for people, coloured on a terminal
)

// NewLogger writes lines of at least this level, in the form "json" or "text".
// In json a duration is a number of seconds.
func NewLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	if format == LogText {
		return slog.New(tint.NewTextHandler(w, &tint.Options{
			Level:      level,
			TimeFormat: "15:04:05.000",
			NoColor:    !isTerminal(w) || os.Getenv("NO_COLOR") != "",
		}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Logger is [NewLogger] of what a person configured. An empty format is json,
// an empty level info; others than those of [Config] are errors.
func Logger(w io.Writer, format, level string) (*slog.Logger, error) {
	if format == "" {
		format = LogJSON
	}
	if format != LogJSON && format != LogText {
		return nil, fmt.Errorf("the log format is %q, want json or text", format)
	}
	if level == "" {
		level = "info"
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("the log level is %q, want debug, info, warn or error", level)
	}
	return NewLogger(w, format, l), nil
}
