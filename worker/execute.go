package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
)

// outcomeKind is how a chain's work on an event ended, for now or for good. It
// is also the metric's label.
type outcomeKind string

const (
	done        outcomeKind = "done"        // all handlers ran
	responded   outcomeKind = "responded"   // a handler's Response ended the chain
	again       outcomeKind = "again"       // the next handler is tried later
	dead        outcomeKind = "dead"        // given up
	interrupted outcomeKind = "interrupted" // the worker stops; nothing is recorded
)

// reason is why an event was given up: a closed set, also the metric's label.
type reason string

const (
	reasonAttempts   reason = "attempts_exhausted"
	reasonAge        reason = "too_old"
	reasonNever      reason = "handler_gave_up"
	reasonUnreadable reason = "unreadable"
	reasonExpired    reason = "expired"
	reasonTooLarge   reason = "values_too_large"
)

// outcome is the result of executing a chain.
type outcome struct {
	kind     outcomeKind
	steps    []stream.StepRecord
	response *handler.Response
	wait     time.Duration // again: until the next attempt
	handler  string        // again, dead: the step that failed
	reason   reason        // dead
	err      error         // again, dead

	keepValues bool // dead: the values are in PROGRESS only
}

// execute runs the steps in order, from where the chain stands, and brings the
// task's progress up to date.
func (r *runner) execute(ctx context.Context, t *task) outcome {
	var o outcome
	for _, step := range r.remaining(t.progress) {
		if !step.Runs(t.event) {
			continue
		}
		if !t.mine() {
			o.kind = interrupted
			return o
		}
		if step.Name != t.progress.Next {
			t.progress.Next, t.progress.Failed = step.Name, 0
		}
		t.progress.Order = step.Order
		response, took, err := r.call(ctx, t, step)
		if err != nil && ctx.Err() != nil {
			o.kind = interrupted
			return o
		}
		t.progress.Total++
		t.progress.Values = t.event.Values
		o.steps = append(o.steps, stream.StepRecord{Name: step.Name, Took: took})
		switch {
		case err != nil:
			return r.failed(t, step, o, err)
		case response != nil:
			o.kind, o.response, o.handler = responded, response, step.Name
			return o
		}
	}
	o.kind = done
	return o
}

// remaining are the steps that have not finished.
func (r *runner) remaining(p standing.Progress) []handler.Step {
	if p.Next == "" {
		return r.steps
	}
	for i, s := range r.steps {
		if s.Name == p.Next {
			return r.steps[i:]
		}
	}
	for i, s := range r.steps {
		if s.Order >= p.Order {
			return r.steps[i:]
		}
	}
	return nil
}

// call runs one handler within its time-out. A panic is its error.
func (r *runner) call(ctx context.Context, t *task, step handler.Step) (response *handler.Response, took time.Duration, err error) {
	timeout := step.Timeout
	if timeout == 0 {
		timeout = handler.DefaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, &lateError{step.Name, timeout})
	defer cancel()
	t.event.Attempt = t.progress.Failed + 1
	t.event.IdempotencyKey = standing.IdempotencyKey(t.event, t.event.Run, r.chain.Name, step.Name)
	began := time.Now()
	defer func() {
		took = time.Since(began)
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, firstLines(debug.Stack(), 20))
		}
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		r.metrics.handler(r.chain.Name, step.Name, took, err)
	}()
	response, err = step.Handler.Handle(ctx, t.event)
	return response, took, err
}

// lateError ends the context of a handler that takes too long.
type lateError struct {
	handler string
	timeout time.Duration
}

func (e *lateError) Error() string {
	return fmt.Sprintf("handler %s did not end within its time-out of %v", e.handler, e.timeout)
}

func firstLines(stack []byte, n int) string {
	lines := strings.SplitN(string(stack), "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "\n")
}

// failed turns a handler's error into an outcome.
func (r *runner) failed(t *task, step handler.Step, o outcome, err error) outcome {
	p := &t.progress
	o.err, o.handler = err, step.Name
	delay, later := handler.AsLater(err)
	if !later {
		p.Failed++
		p.Fail(standing.Failure{Handler: step.Name, Attempt: p.Failed, Time: time.Now().UTC(), Error: err.Error()})
	}
	age := p.Age(t.event.Time)
	wait, more := r.chain.Retry.Next(max(p.Failed, 1), age, rand.Float64())
	switch {
	case handler.IsNever(err):
		o.kind, o.reason = dead, reasonNever
	case age >= r.chain.Retry.GiveUp:
		o.kind, o.reason = dead, reasonAge
	case later:
		o.kind, o.wait = again, max(delay, 0)
	case !more:
		o.kind, o.reason = dead, reasonAttempts
	default:
		o.kind, o.wait = again, wait
	}
	return o
}
