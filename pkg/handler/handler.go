// Package handler is what code that handles webhooks imports: a handler is one
// step of a chain, and what it returns decides what happens to the event.
package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
)

// Handler is one step of a chain.
//
// What Handle returns is the verdict on the event:
//
//	nil, nil            go on with the next handler
//	response, nil       stop here; the response is recorded, and sent back
//	                    where the sender waits for it
//	nil, error          try this handler again, as the retry policy says
//	nil, Later(d, err)  try it again after d; does not count as an attempt
//	nil, Never(err)     give the event up: it becomes a dead letter at once
//	nil, Stop(reason)   stop here: there is nothing more to do with the event
//
// A panic is an error. The context ends at the step's time-out and when the
// worker must stop at once; an error after the latter does not count as an
// attempt. Events are handled at least once, so a handler whose effect must
// happen once hands e.IdempotencyKey() to whoever performs it.
type Handler interface {
	Handle(ctx context.Context, e *event.Event) (*Response, error)
}

// HandlerFunc is a function that is a [Handler].
type HandlerFunc func(ctx context.Context, e *event.Event) (*Response, error)

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, e *event.Event) (*Response, error) {
	return f(ctx, e)
}

// Do makes a [Handler] of a function that never ends a chain early.
func Do(f func(ctx context.Context, e *event.Event) error) Handler {
	return HandlerFunc(func(ctx context.Context, e *event.Event) (*Response, error) {
		return nil, f(ctx, e)
	})
}

// Response ends a chain with an answer for the sender.
type Response struct {
	// Status of the answer, 200 to 599; 0 is 200.
	Status int
	// Header of the answer, of which Content-Type is the usual one; 4 KiB at most.
	Header http.Header
	// Body of the answer, 256 KiB at most.
	Body []byte
}

// JSON is a [Response] with v as its body. What has no JSON form will not have one
// at the next attempt either: the error is a [Never].
func JSON(status int, v any) (*Response, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, Never(fmt.Errorf("write the response: %w", err))
	}
	return &Response{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}, nil
}

// Later says: try this handler again after d. It does not count as an attempt.
// The reason err may be nil.
func Later(d time.Duration, err error) error {
	return &laterError{delay: d, err: err}
}

// Never says: this will not succeed, however often it is tried. The event
// becomes a dead letter with the reason err.
func Never(err error) error {
	if err == nil {
		err = errors.New("given up by the handler")
	}
	return &neverError{err}
}

// Stop says: the chain has nothing more to do with this event. It ends well, and the
// record says that it was filtered. The reason is for the worker's log.
func Stop(reason string) error { return &stopError{reason} }

// AsLater reports whether a handler's error is, or wraps, a [Later], and its delay.
func AsLater(err error) (time.Duration, bool) {
	var later *laterError
	if errors.As(err, &later) {
		return later.delay, true
	}
	return 0, false
}

// IsNever reports whether a handler's error is, or wraps, a [Never].
func IsNever(err error) bool {
	var never *neverError
	return errors.As(err, &never)
}

// IsStop reports whether a handler's error is, or wraps, a [Stop].
func IsStop(err error) bool {
	var stop *stopError
	return errors.As(err, &stop)
}

type laterError struct {
	delay time.Duration
	err   error
}

func (e *laterError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("again in %v", e.delay)
	}
	return fmt.Sprintf("again in %v: %v", e.delay, e.err)
}

func (e *laterError) Unwrap() error { return e.err }

type neverError struct{ err error }

func (e *neverError) Error() string { return e.err.Error() }

func (e *neverError) Unwrap() error { return e.err }

type stopError struct{ reason string }

func (e *stopError) Error() string { return "stopped: " + e.reason }
