// Package rest is what the REST APIs of Belay share: problems, the fields of a
// JSON request, pages of a list, bearer keys, and the server.
package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/belay-hooks/belay/pkg/stream"
)

// Problem is an answer that tells what is wrong, in the form of RFC 9457
// (https://www.rfc-editor.org/rfc/rfc9457).
type Problem struct {
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail"`
	Errors []FieldProblem `json:"errors,omitempty"`

	header http.Header
}

// FieldProblem says what is wrong with one field of the request, or with one of
// its headers.
type FieldProblem struct {
	// Pointer is a JSON pointer as a URI fragment (RFC 6901 section 6): #/filters/0.
	Pointer string `json:"pointer,omitempty"`
	// Header is the name of the header; for CloudEvents in binary mode.
	Header string `json:"header,omitempty"`
	// Parameter is the name of the query parameter.
	Parameter string `json:"parameter,omitempty"`
	Detail    string `json:"detail"`
}

// NewProblem returns the problem of a status, and what is wrong with single fields.
func NewProblem(status int, detail string, errs ...FieldProblem) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Detail: detail, Errors: errs, header: http.Header{}}
}

// Error is the problem in one line.
func (p *Problem) Error() string { return strconv.Itoa(p.Status) + " " + p.Detail }

// With adds a header to the answer.
func (p *Problem) With(name, value string) *Problem {
	p.header.Set(name, value)
	return p
}

// Write answers with the problem.
func (p *Problem) Write(w http.ResponseWriter) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	WriteJSON(w, p.Status, "application/problem+json", p)
}

// retryAfter is how many seconds a caller is asked to wait when the broker
// cannot store: as long as an election takes.
const retryAfter = "5"

// ProblemOf turns an error into an answer. It reports whether the error is one
// that only the log should know in full.
func ProblemOf(err error) (p *Problem, unexpected bool) {
	switch {
	case errors.As(err, &p):
		return p, false
	case errors.Is(err, stream.ErrUnavailable), errors.Is(err, stream.ErrInFlight), errors.Is(err, stream.ErrFull):
		return NewProblem(http.StatusServiceUnavailable,
			"not confirmed to be stored; send the same request again").With("Retry-After", retryAfter), true
	}
	return NewProblem(http.StatusInternalServerError, "the request failed; the log of the program tells why"), true
}

// WriteJSON answers with a body. What cannot be written is the caller's loss:
// the connection is gone.
func WriteJSON(w http.ResponseWriter, status int, contentType string, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n'))
}

// Pointer is the JSON pointer to a field of the body.
func Pointer(tokens ...string) string {
	var path strings.Builder
	for _, t := range tokens {
		path.WriteByte('/')
		path.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(t))
	}
	return (&url.URL{Fragment: path.String()}).String()
}
