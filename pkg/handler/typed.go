package handler

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"

	"github.com/belay-hooks/belay/pkg/event"
)

// Typed makes a [Handler] of a function that gets the event's body as a T:
//
//	type order struct {
//		ID    string `json:"id"`
//		Total int    `json:"total"`
//	}
//
//	func ship(ctx context.Context, e *event.Event, o order) error
//
//	handler.Step{Name: "ship", Handler: handler.Typed(ship)}
//
// A body that is no T becomes a dead letter at once, as [Decode] says.
func Typed[T any](f func(ctx context.Context, e *event.Event, body T) error) Handler {
	return HandlerFunc(func(ctx context.Context, e *event.Event) (*Response, error) {
		body, err := Decode[T](e)
		if err != nil {
			return nil, err
		}
		return nil, f(ctx, e, body)
	})
}

// Decode reads the event's body, which is JSON, as a T; of a form it is the JSON in
// the field payload. What cannot be read will not be at the next attempt either: the
// error is a [Never], which tells the field and not its value.
func Decode[T any](e *event.Event) (T, error) {
	var body T
	if err := json.Unmarshal(jsonOf(e), &body); err != nil {
		return body, Never(fmt.Errorf("read the body of %s as %T: %w", e.Type, body, err))
	}
	return body, nil
}

func jsonOf(e *event.Event) []byte {
	media, _, err := mime.ParseMediaType(e.ContentType)
	if err != nil || media != "application/x-www-form-urlencoded" {
		return e.Body
	}
	form, err := url.ParseQuery(string(e.Body))
	if err != nil || !form.Has("payload") {
		return e.Body
	}
	return []byte(form.Get("payload"))
}

// Value reads what an earlier handler has left on the event
// ([event.Values.Set]) as a T. One that is not there, or is no T, will not be at the
// next attempt either: the error is a [Never].
func Value[T any](e *event.Event, name string) (T, error) {
	var value T
	there, err := e.Values.Get(name, &value)
	switch {
	case err != nil:
		return value, Never(fmt.Errorf("read as %T: %w", value, err))
	case !there:
		return value, Never(fmt.Errorf("no handler has left the value %q on the event", name))
	}
	return value, nil
}
