// Package expression has the two languages of the configuration file: conditions
// in CEL, which say whether something is done, and queries in jq, which make one
// JSON value of another. Both are compiled once and see the same of an event.
//
//	                CEL              jq
//	the body        body             .
//	attributes      event.type …     $event.type …
//	kept headers    headers["name"]  $headers["name"]
//	values          values.name      $values.name
//
// The attributes are id, type, name, source, receiver, key, tenant, content_type
// and time, and run and attempt, which count. A header's name is in lower case;
// several lines of one are joined by a comma. Values are what earlier handlers have
// left.
//
// The body is what its JSON says. Of a form it is the JSON in the field payload, as
// GitHub and Slack send it; or else an object of the fields: a text, or a list of
// texts where a field is there several times. Any other body is a text; an empty
// one is null.
package expression

import (
	"fmt"
	"strings"
)

// Error is what is wrong with an expression.
type Error struct {
	// Text is the expression.
	Text string
	// Offset is where in it the error is, in bytes. -1: the whole of it.
	Offset int
	// Reason says what is wrong.
	Reason string
}

// Error is the reason, with the place in the expression.
func (e *Error) Error() string {
	if e.Offset < 0 {
		return e.Reason
	}
	before := e.Text[:min(e.Offset, len(e.Text))]
	return fmt.Sprintf("%s, at line %d, column %d of the expression", e.Reason,
		strings.Count(before, "\n")+1, len(before)-strings.LastIndexByte(before, '\n'))
}

// maxText bounds an expression.
const maxText = 16 << 10

func checkText(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return &Error{Text: text, Offset: -1, Reason: "the expression is empty"}
	case len(text) > maxText:
		return &Error{Text: text, Offset: -1, Reason: fmt.Sprintf("the expression has %d bytes, want at most %d", len(text), maxText)}
	}
	return nil
}
