package expression

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/itchyny/gojq"

	"github.com/belay-hooks/belay/pkg/event"
)

// The bounds of a query.
const (
	// MaxResult is the largest result, in bytes. It is stored with each failure of a
	// later handler.
	MaxResult = 512 << 10
	// maxQueryTime ends a query. jq can loop without end.
	maxQueryTime = time.Second
)

// Query is a compiled query. It may be used by several goroutines.
type Query struct {
	text string
	code *gojq.Code
}

// NewQuery compiles a query in jq (https://jqlang.org/manual/), as gojq has it. It
// has no access to files, the environment or further input. The error is an [*Error].
func NewQuery(text string) (*Query, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	parsed, err := gojq.Parse(text)
	if wrong := (*gojq.ParseError)(nil); errors.As(err, &wrong) {
		return nil, &Error{Text: text, Offset: max(wrong.Offset-len(wrong.Token), 0), Reason: wrong.Error()}
	}
	if err == nil {
		var code *gojq.Code
		if code, err = gojq.Compile(parsed, gojq.WithVariables([]string{"$event", "$headers", "$values"})); err == nil {
			return &Query{text, code}, nil
		}
	}
	return nil, &Error{Text: text, Offset: named(text, err.Error()), Reason: err.Error()}
}

// ErrSlow is what a query fails with that takes too long. Another time the machine
// may be less busy; all other errors come again.
var ErrSlow = fmt.Errorf("took longer than %v", maxQueryTime)

// Run is the one result of the query for an event, as JSON.
func (q *Query) Run(ctx context.Context, e *event.Event) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, maxQueryTime, ErrSlow)
	defer cancel()
	results := q.code.RunWithContext(ctx, document(e), eventObject(e), headersObject(e), values(e))
	result, ok := results.Next()
	if !ok {
		return nil, q.fails("it has no result, want one; a filter ends a chain")
	}
	if err, failed := result.(error); failed {
		return nil, q.failed(ctx, err)
	}
	if more, ok := results.Next(); ok {
		if err, failed := more.(error); failed {
			return nil, q.failed(ctx, err)
		}
		return nil, q.fails("it has several results, want one: [ … ] makes a list of them")
	}
	text, err := gojq.Marshal(result)
	if err != nil {
		return nil, q.fails("its result has no JSON form")
	}
	if len(text) > MaxResult {
		return nil, q.fails(fmt.Sprintf("its result has %d bytes, want at most %d", len(text), MaxResult))
	}
	return text, nil
}

func (q *Query) fails(reason string) error {
	return fmt.Errorf("query %s: %s", shown(q.text), reason)
}

func (q *Query) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("query %s: %w", shown(q.text), context.Cause(ctx))
	}
	return q.fails(withoutValues(err))
}

var typeName = regexp.MustCompile(`: (null|boolean|number|string|array|object)\b`)

// withoutValues is a query's error without what jq shows in it of the event. What
// the query itself raises, by error(…), is its author's.
func withoutValues(err error) string {
	if raised := gojq.ValueError(nil); errors.As(err, &raised) {
		return err.Error()
	}
	text := err.Error()
	reason := strings.TrimRight(text[:strings.IndexAny(text+":", ":(")], " ")
	if kind := typeName.FindStringSubmatch(text); kind != nil {
		return reason + ": " + kind[1]
	}
	return reason
}

// named is where in a query the name is that an error says is not there.
func named(text, reason string) int {
	_, name, ok := strings.Cut(reason, ": ")
	name, _, _ = strings.Cut(name, "/")
	if !ok || name == "" {
		return -1
	}
	return strings.Index(text, name)
}

// eventObject are the attributes. jq has no times: it is a text.
func eventObject(e *event.Event) map[string]any {
	all := make(map[string]any, len(attributes))
	for name, of := range attributes {
		v := of(e)
		if t, ok := v.(time.Time); ok {
			v = text(t)
		}
		all[name] = v
	}
	return all
}

func headersObject(e *event.Event) map[string]any {
	all := make(map[string]any, len(e.Header))
	for name, value := range headers(e) {
		all[name] = value
	}
	return all
}
