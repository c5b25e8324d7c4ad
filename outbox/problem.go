package outbox

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/belay-hooks/belay/pkg/stream"
)

// problem is an answer that tells what is wrong, in the form of RFC 9457
// (https://www.rfc-editor.org/rfc/rfc9457).
type problem struct {
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail"`
	Errors []fieldProblem `json:"errors,omitempty"`

	header http.Header
}

// fieldProblem says what is wrong with one field of the request, or with one of
// its headers.
type fieldProblem struct {
	// Pointer is a JSON pointer as a URI fragment (RFC 6901 section 6): #/filters/0.
	Pointer string `json:"pointer,omitempty"`
	// Header is the name of the header; for CloudEvents in binary mode.
	Header string `json:"header,omitempty"`
	// Parameter is the name of the query parameter.
	Parameter string `json:"parameter,omitempty"`
	Detail    string `json:"detail"`
}

func newProblem(status int, detail string, errs ...fieldProblem) *problem {
	return &problem{Title: http.StatusText(status), Status: status, Detail: detail, Errors: errs, header: http.Header{}}
}

// Error is the problem in one line.
func (p *problem) Error() string { return strconv.Itoa(p.Status) + " " + p.Detail }

// with adds a header to the answer.
func (p *problem) with(name, value string) *problem {
	p.header.Set(name, value)
	return p
}

func (p *problem) write(w http.ResponseWriter) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

// retryAfter is how many seconds a caller is asked to wait when the broker
// cannot store: as long as an election takes.
const retryAfter = "5"

// problemOf turns an error into an answer. It reports whether the error is one
// that only the log should know in full.
func problemOf(err error) (p *problem, unexpected bool) {
	switch {
	case errors.As(err, &p):
		return p, false
	case errors.Is(err, stream.ErrTooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "the notification is too large to be stored"), false
	case errors.Is(err, stream.ErrUnavailable), errors.Is(err, stream.ErrInFlight), errors.Is(err, stream.ErrFull):
		return newProblem(http.StatusServiceUnavailable,
			"not confirmed to be stored; send the same request again").with("Retry-After", retryAfter), true
	}
	return newProblem(http.StatusInternalServerError, "the request failed; the log of the outbox tells why"), true
}

// writeJSON answers with a body. What cannot be written is the caller's loss:
// the connection is gone.
func writeJSON(w http.ResponseWriter, status int, contentType string, body any) {
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

// pointer is the JSON pointer to a field of the body.
func pointer(tokens ...string) string {
	var path strings.Builder
	for _, t := range tokens {
		path.WriteByte('/')
		path.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(t))
	}
	return (&url.URL{Fragment: path.String()}).String()
}
