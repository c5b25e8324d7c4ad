// Package service is what every program of Belay does around its work: it logs,
// answers on an ops port, listens to signals, and stops in order.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/zap/zapcore"
)

// Config is how a program is run.
type Config struct {
	// OpsAddr is where health, metrics and profiles are served. :0 is any free port.
	OpsAddr string
	// LogFormat is json or text. Empty: json.
	LogFormat string
	// LogLevel is debug, info, warn or error. Empty: info.
	LogLevel string
	// LogTo is where the log goes. Nil: standard error.
	LogTo io.Writer
	// ShutdownDelay is how long a program that is told to stop goes on serving
	// while it says that it is unready.
	ShutdownDelay time.Duration
	// ShutdownGrace bounds the stopping that follows. 0: [DefaultGrace].
	ShutdownGrace time.Duration
}

// Service is a program at work: its logger, its ops port and its components.
type Service struct {
	// Log is the program's logger.
	Log *slog.Logger
	// Ops is the ops port. [Service.Run] runs it.
	Ops *Ops

	group Group
	lines *zapcore.BufferedWriteSyncer // of a log for machines; else nil
}

// logEvery is how long a line of a log for machines may wait for others, to be
// written with them. A process that is killed takes these last lines with it.
const logEvery = 50 * time.Millisecond

// New makes the logger and binds the ops port. Whoever calls it calls
// [Service.Close] in the end.
func New(c Config) (*Service, error) {
	if c.ShutdownDelay < 0 || c.ShutdownGrace < 0 {
		return nil, errors.New("the shutdown delay or grace is negative, want 0s or more")
	}
	if c.LogTo == nil {
		c.LogTo = os.Stderr
	}
	s := &Service{}
	if c.LogFormat != LogText {
		s.lines = &zapcore.BufferedWriteSyncer{WS: zapcore.AddSync(c.LogTo), FlushInterval: logEvery}
		c.LogTo = s.lines
	}
	var err error
	if s.Log, err = Logger(c.LogTo, c.LogFormat, c.LogLevel); err != nil {
		return nil, err
	}
	if s.Ops, err = NewOps(c.OpsAddr); err != nil {
		return nil, err
	}
	s.group = Group{Unready: s.Ops.Draining, Delay: c.ShutdownDelay, Grace: c.ShutdownGrace, Log: s.Log}
	s.group.Add("ops", s.Ops)
	return s, nil
}

// Add appends a component. Components are started in this order and stopped in
// reverse; the ops port answers from before the first to after the last.
func (s *Service) Add(name string, c Component) { s.group.Add(name, c) }

// Run runs everything until the context ends or a component fails. Then it says
// that it is unready, waits the delay, and stops the components in reverse.
func (s *Service) Run(ctx context.Context) error { return s.group.Run(ctx) }

// Close frees the port of a service that was never run, and writes the last lines
// of the log.
func (s *Service) Close() error {
	err := s.Ops.Close()
	if s.lines != nil {
		err = errors.Join(err, s.lines.Stop())
	}
	return err
}

// Main runs a program and ends the process: with 0, with what the error's
// ExitCode() int says, or with 1. The first SIGINT or SIGTERM ends the context,
// a second one the process, at once.
func Main(name string, run func(ctx context.Context) error) {
	os.Exit(Exit(os.Stderr, name, run))
}

// Exit is [Main] without the end of the process. It returns the exit code.
func Exit(stderr io.Writer, name string, run func(ctx context.Context) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// From the first signal on, the next one has its own effect again.
	defer context.AfterFunc(ctx, stop)()
	err := run(ctx)
	if err == nil {
		return 0
	}
	var exit interface{ ExitCode() int }
	code := 1
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	fmt.Fprintf(stderr, "%s: %v\n", name, err)
	return code
}

// Hangups tells of each SIGHUP until the context ends. Those that come while
// nobody listens are told once.
func Hangups(ctx context.Context) <-chan struct{} {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	told := make(chan struct{}, 1)
	go func() {
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
			}
			select {
			case told <- struct{}{}:
			default:
			}
		}
	}()
	return told
}
