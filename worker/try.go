package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
)

// Trial is what came of an event that [Try] ran a chain over.
type Trial struct {
	// Outcome is passed (the chain does not take the event), done, responded,
	// filtered, again (a handler failed and would be tried again) or dead (the event
	// would be a dead letter).
	Outcome string
	// Ran are the handlers that ran, by name and in order.
	Ran []string
	// Response that ended the chain; nil for none.
	Response *handler.Response
	// Handler is the one that ended the chain, or failed; empty where the chain ran to
	// its end.
	Handler string
	// Err is why Handler failed. Nil for no failure.
	Err error
	// Reason is why the event would be a dead letter, as a dead letter has it.
	Reason string
	// Wait is the time to the next attempt, where there is one.
	Wait time.Duration
	// Values are what the handlers have left on the event.
	Values event.Values

	runner *runner
	task   *task
}

// Try runs a chain over an event once, as a worker does but in memory: for the tests
// of handlers. Conditions, time-outs, values, idempotency keys and verdicts are those
// of a worker; nothing is stored, nor waited for. An event without a time is taken
// for one that has just come. The error tells that the chain is not valid, or has a
// handler that needs a broker: notify, reply, publish.
func Try(ctx context.Context, c handler.Chain, e *event.Event) (*Trial, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	for i := range c.Steps {
		_, needs := c.Steps[i].Handler.(bound)
		if _, notifies := c.Steps[i].Handler.(*notify); needs || notifies {
			return nil, fmt.Errorf("chain %s: the handler %s needs a broker", c.Name, c.Steps[i].Name)
		}
	}
	if c.Retry == (handler.Retry{}) {
		c.Retry = handler.DefaultRetry
	}
	c.Checkpoint = false // there is nowhere to write it
	m := newMetrics(nil)
	r := &runner{
		Worker: &Worker{metrics: m}, chain: c, steps: c.Sorted(), times: m.of(c.Name, c.Steps),
		log: slog.New(slog.DiscardHandler),
	}
	for i := range r.steps {
		r.steps[i].Checkpoint = false
	}
	own := *e
	if own.Time.IsZero() {
		own.Time = time.Now()
	}
	t := &Trial{runner: r, task: &task{event: &own, progress: standing.Progress{Values: own.Values}}}
	if !c.Selects(e) {
		t.Outcome = string(passed)
		return t, nil
	}
	t.run(ctx)
	return t, nil
}

// Again is the next attempt: the chain goes on at the handler that failed, with what
// those before it have left. It does nothing where there is no next attempt.
func (t *Trial) Again(ctx context.Context) {
	if t.Outcome == string(again) {
		t.run(ctx)
	}
}

func (t *Trial) run(ctx context.Context) {
	o := t.runner.execute(ctx, t.task)
	t.Outcome, t.Response, t.Handler, t.Reason, t.Wait = string(o.kind), o.response, o.handler, string(o.reason), o.wait
	t.Err = nil
	if o.kind == again || o.kind == dead {
		t.Err = o.err
	}
	t.Values = t.task.event.Values
	t.Ran = append(t.Ran, names(o.steps)...)
}

func names(steps []stream.StepRecord) []string {
	all := make([]string, len(steps))
	for i, s := range steps {
		all[i] = s.Name
	}
	return all
}
