package worker

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/belay-hooks/belay/internal/expression"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
)

// transform is the built-in handler transform: it makes another body, or a value, of
// the event by a query in jq.
type transform struct {
	query *expression.Query
	keep  string // the value that the result is left as; empty: it is the body
}

func newTransform(c *config.Transform) (*transform, error) {
	q, err := expression.NewQuery(c.JQ)
	if err != nil {
		return nil, inField("transform.jq", err)
	}
	return &transform{q, c.Keep}, nil
}

// Handle runs the query. What fails for an event fails each time, but for the time
// that it takes.
func (t *transform) Handle(ctx context.Context, e *event.Event) (*handler.Response, error) {
	result, err := t.query.Run(ctx, e)
	switch {
	case errors.Is(err, expression.ErrSlow) || ctx.Err() != nil && err != nil:
		return nil, err
	case err != nil:
		return nil, handler.Never(err)
	case t.keep != "":
		return nil, e.Values.Set(t.keep, json.RawMessage(result))
	}
	return nil, e.SetBody(json.RawMessage(result))
}

// newFilter is the built-in handler filter: it ends the chain for the events that
// the condition does not hold for.
func newFilter(text string) (handler.Handler, error) {
	condition, err := newCondition("filter", text)
	if err != nil {
		return nil, err
	}
	return handler.Do(func(_ context.Context, e *event.Event) error {
		holds, err := condition(e)
		if err != nil {
			return &conditionError{err}
		}
		if !holds {
			return handler.Stop("the filter does not let the event pass")
		}
		return nil
	}), nil
}

// newCondition compiles a condition that stands in the field; nil for none. What
// fails for an event fails each time: the event is given up, and not passed over
// silently. It can be redriven once the condition is mended.
func newCondition(field, text string) (handler.Condition, error) {
	if text == "" {
		return nil, nil
	}
	c, err := expression.NewCondition(text)
	if err != nil {
		return nil, inField(field, err)
	}
	return func(e *event.Event) (bool, error) {
		holds, err := c.Holds(e)
		if err != nil {
			err = handler.Never(err)
		}
		return holds, err
	}, nil
}

// inField is the error of an expression that stands in a field of a chain or handler.
func inField(field string, err error) error {
	wrong := &config.FieldError{Path: field, Want: err.Error()}
	if at := (*expression.Error)(nil); errors.As(err, &at) && at.Offset >= 0 {
		wrong.Want, wrong.Mark = at.Reason, &config.Mark{Text: at.Text, Offset: at.Offset}
	}
	return wrong
}
