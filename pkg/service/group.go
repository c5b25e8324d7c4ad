package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Component is a part of a program that runs: a server, a worker, a watch.
type Component interface {
	// Run works until the context ends, finishes what it has in hand, and returns
	// nil. It returns an error when it cannot go on.
	Run(ctx context.Context) error
}

// Func is a function as a [Component].
type Func func(ctx context.Context) error

// Run calls the function.
func (f Func) Run(ctx context.Context) error { return f(ctx) }

// DefaultGrace is how long the components of a [Group] may take to stop.
const DefaultGrace = 25 * time.Second

// Group runs components together. They are started in the order in which they
// were added and stopped in reverse, one after another: add what others rely on
// first. The zero Group is ready to use.
type Group struct {
	// Unready is called when the group is about to stop, before Delay. Nil: nothing.
	Unready func()
	// Delay is how long everything goes on running after Unready, so that load
	// balancers notice and send no more.
	Delay time.Duration
	// Grace bounds the stopping of all components together, counted from the end
	// of Delay. 0: [DefaultGrace].
	Grace time.Duration
	// Log is told of each start and stop. Nil: nobody.
	Log *slog.Logger

	members []*member
}

// A member is a component while it runs.
type member struct {
	name      string
	component Component
	stop      context.CancelFunc
	done      chan struct{}
	err       error // valid once done is closed
}

// ErrGrace is what did not stop in time.
var ErrGrace = errors.New("still running when the grace period ended")

// Add appends a component. It must not be called once the group runs.
func (g *Group) Add(name string, c Component) {
	g.members = append(g.members, &member{name: name, component: c})
}

// Run starts all components and returns when all have stopped: after the context
// has ended, or after the first of them has failed or ended by itself. The
// error joins what failed, each with the component's name; a component that
// outlives the grace period is left behind, with [ErrGrace].
func (g *Group) Run(ctx context.Context) error {
	if g.Log == nil {
		g.Log = slog.New(slog.DiscardHandler)
	}
	ended := make(chan *member, len(g.members))
	for _, m := range g.members {
		g.start(ctx, m, ended)
	}
	var first error
	select {
	case <-ctx.Done():
		g.Log.Debug("stopping", "cause", context.Cause(ctx).Error())
		if g.Unready != nil {
			g.Unready()
		}
		first = g.delay(ended)
	case m := <-ended:
		first = m.failure()
		if g.Unready != nil {
			g.Unready()
		}
	}
	return errors.Join(append([]error{first}, g.stop()...)...)
}

// start runs a member under a context of its own. It does not end with the
// group's, since the members are stopped one by one; stop ends it, always.
func (g *Group) start(ctx context.Context, m *member, ended chan<- *member) {
	ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	m.done = make(chan struct{})
	g.Log.Debug("started", "component", m.name)
	go func() {
		m.err = m.component.Run(ctx)
		close(m.done)
		ended <- m
	}()
}

// delay waits while everything still runs. A failure cuts it short.
func (g *Group) delay(ended <-chan *member) error {
	if g.Delay <= 0 {
		return nil
	}
	timer := time.NewTimer(g.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case m := <-ended:
		return m.failure()
	}
}

// failure is why a member ended that nobody has stopped.
func (m *member) failure() error {
	if m.err != nil {
		return nil // stop tells it with the others
	}
	return fmt.Errorf("%s: ended by itself, want it to run until it is stopped", m.name)
}

// stop ends the members in reverse order and returns what failed.
func (g *Group) stop() []error {
	grace := g.Grace
	if grace <= 0 {
		grace = DefaultGrace
	}
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	var errs []error
	late := false
	for _, m := range slices.Backward(g.members) {
		m.stop()
		if !late {
			select {
			case <-m.done:
			case <-deadline.C:
				late = true
			}
		}
		select {
		case <-m.done:
			if m.err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", m.name, m.err))
			}
			g.Log.Debug("stopped", "component", m.name)
		default:
			errs = append(errs, fmt.Errorf("%s: %w", m.name, ErrGrace))
		}
	}
	slices.Reverse(errs)
	return errs
}
