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

// outcomeKind is how a chain's work on an event ended, until its next turn or for good. It
// is also the metric's label.
type outcomeKind string

const (
	done        outcomeKind = "done"        // all handlers ran
	responded   outcomeKind = "responded"   // a handler's Response ended the chain
	filtered    outcomeKind = "filtered"    // a handler said that there is nothing more to do
	passed      outcomeKind = "passed"      // the chain's condition does not take the event; nothing is recorded
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
	reasonCondition  reason = "condition_failed"
	reasonCrashed    reason = "crashed"
)

// outcome is the result of executing a chain.
type outcome struct {
	kind     outcomeKind
	steps    []stream.StepRecord
	response *handler.Response
	wait     time.Duration // again: until the next attempt
	handler  string        // again, dead: the step that failed; filtered: the one that said so
	reason   reason        // dead
	err      error         // again, dead, filtered

	keepValues bool // dead: the values are in PROGRESS only
}

// finished tells whether the chain came to an end of its own.
func (o outcome) finished() bool {
	return o.kind == done || o.kind == responded || o.kind == filtered
}

// execute runs the steps in order, from where the chain stands, and brings the
// task's progress up to date.
func (r *runner) execute(ctx context.Context, t *task) outcome {
	var o outcome
	// A body that handlers put in the place of the event's own is a value of the
	// chain. What is parked or given up is what came in.
	body, contentType := t.event.Body, t.event.ContentType
	defer func() { t.event.Body, t.event.ContentType = body, contentType }()
	t.event.UseValues(t.progress.Values)
	if t.progress.Next == "" && r.chain.When != nil {
		takes, err := r.holds(t, r.chain.When)
		switch {
		case err != nil:
			return r.failed(t, "", o, err)
		case !takes:
			o.kind = passed
			return o
		}
	}
	steps := r.remaining(t.progress)
	for i, step := range steps {
		var ran bool
		if o, ran = r.step(ctx, t, o, step); o.kind != "" {
			return o
		}
		// After the last one the record of the end comes at once.
		if ran && (r.chain.Checkpoint || step.Checkpoint) && i+1 < len(steps) {
			if o = r.checkpoint(ctx, t, o, steps[i+1]); o.kind != "" {
				return o
			}
		}
	}
	o.kind = done
	return o
}

// step runs one step, if it is for the event. The outcome has a kind only where the
// chain ends here, until its next turn or for good.
func (r *runner) step(ctx context.Context, t *task, o outcome, step handler.Step) (_ outcome, ran bool) {
	if !step.Runs(t.event) {
		return o, false
	}
	if !t.mine() {
		o.kind = interrupted
		return o, false
	}
	if step.Name != t.progress.Next {
		t.progress.Next, t.progress.Failed = step.Name, 0
	}
	t.progress.Order = step.Order
	if step.When != nil {
		runs, err := r.holds(t, step.When)
		if err != nil {
			return r.failed(t, step.Name, o, err), false
		}
		if !runs {
			return o, false
		}
	}
	response, took, err := r.call(ctx, t, step)
	if err != nil && ctx.Err() != nil {
		o.kind = interrupted
		return o, false
	}
	t.progress.Total++
	t.progress.Values = t.event.Values
	o.steps = append(o.steps, stream.StepRecord{Name: step.Name, Took: took})
	switch {
	case handler.IsStop(err):
		o.kind, o.err, o.handler = filtered, err, step.Name
	case err != nil:
		o = r.failed(t, step.Name, o, err)
	case response != nil:
		o.kind, o.response, o.handler = responded, response, step.Name
	}
	return o, true
}

// checkpoint writes that the chain has come to the step next. The outcome has a kind
// only where the chain cannot go on.
func (r *runner) checkpoint(ctx context.Context, t *task, o outcome, next handler.Step) outcome {
	finished := t.progress.Next
	t.progress.Next, t.progress.Order, t.progress.Failed, t.progress.Begun = next.Name, next.Order, 0, 0
	ctx, cancel := lateToo(ctx)
	defer cancel()
	switch err := r.writeProgress(ctx, t); {
	case err == nil && t.mine():
	case errors.Is(err, stream.ErrTooLarge):
		o.kind, o.reason, o.err, o.handler = dead, reasonTooLarge, err, finished
	default:
		o.kind = interrupted
	}
	return o
}

// holds asks a condition. A panic is its error.
func (r *runner) holds(t *task, when handler.Condition) (holds bool, err error) {
	t.event.Attempt = t.progress.Failed + 1
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, firstLines(debug.Stack(), 20))
		}
		if err != nil {
			err = &conditionError{err}
		}
	}()
	return when(t.event)
}

// conditionError is the error of a condition.
type conditionError struct{ error }

func (e *conditionError) Unwrap() error { return e.error }

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
	t.event.Chain, t.event.Handler, t.event.Attempt = r.chain.Name, step.Name, t.progress.Failed+1
	began := time.Now()
	defer func() {
		took = time.Since(began)
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, firstLines(debug.Stack(), 20))
		}
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		r.times[step.Name].observe(took, err)
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

// policy is what the retries of a step go by: its own policy, or the chain's.
func (r *runner) policy(step string) handler.Retry {
	for i := range r.steps {
		if r.steps[i].Name == step && r.steps[i].Retry != (handler.Retry{}) {
			return r.steps[i].Retry
		}
	}
	return r.chain.Retry
}

// failed turns the error of a handler, or of the condition before it, into an
// outcome.
func (r *runner) failed(t *task, step string, o outcome, err error) outcome {
	p := &t.progress
	p.Begun = 0
	o.err, o.handler = err, step
	delay, later := handler.AsLater(err)
	if !later {
		p.Failed++
		p.Fail(standing.Failure{Handler: step, Attempt: p.Failed, Time: time.Now().UTC(), Error: err.Error()})
	}
	policy := r.policy(step)
	age := p.Age(t.event.Time)
	wait, more := policy.Next(max(p.Failed, 1), age, rand.Float64())
	switch {
	case handler.IsNever(err):
		o.kind, o.reason = dead, reasonNever
		if condition := (*conditionError)(nil); errors.As(err, &condition) {
			o.reason = reasonCondition
		}
	case age >= policy.GiveUp:
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
