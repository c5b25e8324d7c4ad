package rest

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The pages of a list.
const (
	DefaultPage = 50
	MaxPage     = 500
)

// Query reads the parameters of a request and gathers what is wrong with them.
type Query struct {
	values url.Values
	known  []string
	errs   []FieldProblem
}

// NewQuery returns the parameters of a request. One that cannot be read, or stands
// there twice, is wrong: left out, as the standard library does, it would be a filter
// that selects all.
func NewQuery(r *http.Request) *Query {
	values, err := url.ParseQuery(r.URL.RawQuery)
	q := &Query{values: values}
	if err != nil {
		q.Bad("", "the query of the URL cannot be read: want %25 for a percent sign, and %3B for a semicolon")
	}
	for name, all := range values {
		if len(all) > 1 {
			q.Bad(name, "want it once")
		}
	}
	return q
}

// Bad notes what is wrong with a parameter.
func (q *Query) Bad(name, detail string) {
	q.errs = append(q.errs, FieldProblem{Parameter: name, Detail: detail})
}

// Text reads a parameter; empty if it is missing.
func (q *Query) Text(name string) string {
	q.known = append(q.known, name)
	return q.values.Get(name)
}

// OneOf reads a parameter that must be one of these; the first one if it is missing.
func (q *Query) OneOf(name string, these ...string) string {
	text := q.Text(name)
	switch {
	case text == "":
		return these[0]
	case !slices.Contains(these, text):
		q.Bad(name, "want one of "+strings.Join(these, ", "))
	}
	return text
}

// Time reads a parameter that must be a time in the form of RFC 3339; zero if it
// is missing.
func (q *Query) Time(name string) time.Time {
	text := q.Text(name)
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		q.Bad(name, "want a time such as 2026-11-22T10:00:00Z")
	}
	return at
}

// Page reads the parameters limit and cursor. The cursor of the first page is
// empty.
func (q *Query) Page() (limit int, cursor string) {
	limit = DefaultPage
	if text := q.Text("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > MaxPage {
			q.Bad("limit", "want a number from 1 to "+strconv.Itoa(MaxPage))
		}
		limit = n
	}
	text, err := base64.RawURLEncoding.DecodeString(q.Text("cursor"))
	if err != nil {
		q.BadCursor()
	}
	return limit, string(text)
}

// BadCursor notes that the cursor is not one that a list has given.
func (q *Query) BadCursor() { q.Bad("cursor", "want the field next of the page before") }

// Cursor is the form of a cursor outside; empty for none.
func Cursor(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// Err is nil if nothing is wrong, unknown parameters included.
func (q *Query) Err() error {
	slices.Sort(q.known)
	for _, name := range slices.Sorted(maps.Keys(q.values)) {
		if !slices.Contains(q.known, name) {
			q.Bad(name, "unknown parameter; known are "+strings.Join(q.known, ", "))
		}
	}
	if len(q.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(q.errs, func(a, b FieldProblem) int { return strings.Compare(a.Parameter, b.Parameter) })
	return Invalid(q.errs...)
}
