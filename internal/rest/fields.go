package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Fields reads a JSON object field by field and gathers what is wrong with it,
// so that a caller learns of everything at once.
type Fields struct {
	// Raw are the fields as they came.
	Raw map[string]json.RawMessage
	// Errs is what is wrong.
	Errs []FieldProblem
}

// ReadBody reads a request's body up to a limit.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, NewProblem(http.StatusRequestEntityTooLarge, "the body is larger than "+strconv.FormatInt(limit, 10)+" bytes")
	case err != nil:
		return nil, NewProblem(http.StatusBadRequest, "the body cannot be read to its end")
	}
	return body, nil
}

// MediaType is the media type of a request in lower case, without parameters.
func MediaType(r *http.Request) string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// ReadFields reads a body that must be one JSON object.
func ReadFields(body []byte) (*Fields, error) {
	if !utf8.Valid(body) {
		return nil, NewProblem(http.StatusBadRequest, "the body is not UTF-8")
	}
	f := &Fields{}
	if !strings.HasPrefix(strings.TrimLeft(string(body[:min(len(body), 64)]), " \t\r\n"), "{") {
		return nil, NewProblem(http.StatusBadRequest, "the body is not a JSON object")
	}
	if err := json.Unmarshal(body, &f.Raw); err != nil {
		return nil, NewProblem(http.StatusBadRequest, "the body is not a JSON object: "+err.Error())
	}
	return f, nil
}

// Bad notes what is wrong with a field.
func (f *Fields) Bad(detail string, path ...string) {
	f.Errs = append(f.Errs, FieldProblem{Pointer: Pointer(path...), Detail: detail})
}

// Only notes all fields but the known ones.
func (f *Fields) Only(known ...string) {
	var unknown []string
	for name := range f.Raw {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		f.Bad("unknown field; known are "+strings.Join(known, ", "), name)
	}
}

// Has reports whether a field is there; null is not.
func (f *Fields) Has(name string) bool {
	raw, ok := f.Raw[name]
	return ok && !bytes.Equal(raw, []byte("null"))
}

// Text reads a field that must be a string of at most limit bytes without
// control characters; empty if it is missing.
func (f *Fields) Text(name string, limit int) string {
	if !f.Has(name) {
		return ""
	}
	var s string
	if err := json.Unmarshal(f.Raw[name], &s); err != nil {
		f.Bad("want a string", name)
		return ""
	}
	if detail := BadText(s, limit); detail != "" {
		f.Bad(detail, name)
		return ""
	}
	return s
}

// Texts reads a field that must be a list of at most count such strings.
func (f *Fields) Texts(name string, count, limit int) []string {
	if !f.Has(name) {
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(f.Raw[name], &list); err != nil {
		f.Bad("want a list of strings", name)
		return nil
	}
	if len(list) > count {
		f.Bad("want at most "+strconv.Itoa(count)+" entries", name)
		return nil
	}
	var all []string
	for i, raw := range list {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil || string(raw) == "null" {
			f.Bad("want a string", name, strconv.Itoa(i))
			continue
		}
		if detail := BadText(s, limit); detail != "" {
			f.Bad(detail, name, strconv.Itoa(i))
			continue
		}
		all = append(all, s)
	}
	return all
}

// Invalid is the problem of a request of which single fields are wrong.
func Invalid(errs ...FieldProblem) *Problem {
	return NewProblem(http.StatusUnprocessableEntity, "the request is not valid; errors tells what and where", errs...)
}

// Err is nil if nothing is wrong.
func (f *Fields) Err() error {
	if len(f.Errs) == 0 {
		return nil
	}
	return Invalid(f.Errs...)
}

// BadText says what is wrong with a text that stands in one line; "" if nothing.
func BadText(s string, limit int) string {
	switch {
	case len(s) > limit:
		return "want at most " + strconv.Itoa(limit) + " bytes"
	case !utf8.ValidString(s):
		return "want UTF-8"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "want no control characters"
	}
	return ""
}

// Bool reads a field that must be true or false; false if it is missing.
func (f *Fields) Bool(name string) bool {
	if !f.Has(name) {
		return false
	}
	var b bool
	if err := json.Unmarshal(f.Raw[name], &b); err != nil {
		f.Bad("want true or false", name)
	}
	return b
}

// Number reads a field that must be a number between two others; 0 if it is
// missing.
func (f *Fields) Number(name string, least, most float64) float64 {
	if !f.Has(name) {
		return 0
	}
	var n float64
	if err := json.Unmarshal(f.Raw[name], &n); err != nil || n < least || n > most {
		f.Bad("want a number from "+strconv.FormatFloat(least, 'f', -1, 64)+" to "+strconv.FormatFloat(most, 'f', -1, 64), name)
		return 0
	}
	return n
}

// Integer reads a field that must be a whole number between two others; 0 if it
// is missing.
func (f *Fields) Integer(name string, least, most int64) int64 {
	if !f.Has(name) {
		return 0
	}
	var n int64
	if err := json.Unmarshal(f.Raw[name], &n); err != nil || n < least || n > most {
		f.Bad("want a whole number from "+strconv.FormatInt(least, 10)+" to "+strconv.FormatInt(most, 10), name)
		return 0
	}
	return n
}

// Time reads a field that must be a time in the form of RFC 3339; zero if it is
// missing.
func (f *Fields) Time(name string) time.Time {
	text := f.Text(name, maxTime)
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		f.Bad("want a time such as 2026-11-22T10:00:00Z", name)
	}
	return at
}

// maxTime is the longest text of a time, in bytes.
const maxTime = 64

// Object reads a field that must be an object; nil if it is missing.
func (f *Fields) Object(name string) (*Fields, error) {
	if !f.Has(name) {
		return nil, nil
	}
	inner, err := ReadFields(f.Raw[name])
	if err != nil {
		return nil, NewProblem(http.StatusUnprocessableEntity, "the field "+name+" is not a JSON object")
	}
	return inner, nil
}
