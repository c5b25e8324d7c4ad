package outbox

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
	"unicode"
	"unicode/utf8"
)

// fields reads a JSON object field by field and gathers what is wrong with it,
// so that a caller learns of everything at once.
type fields struct {
	raw  map[string]json.RawMessage
	errs []fieldProblem
}

// readBody reads a request's body up to a limit.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, newProblem(http.StatusRequestEntityTooLarge, "the body is larger than "+strconv.FormatInt(limit, 10)+" bytes")
	case err != nil:
		return nil, newProblem(http.StatusBadRequest, "the body cannot be read to its end")
	}
	return body, nil
}

// mediaType is the media type of a request in lower case, without parameters.
func mediaType(r *http.Request) string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// readFields reads a body that must be one JSON object.
func readFields(body []byte) (*fields, error) {
	if !utf8.Valid(body) {
		return nil, newProblem(http.StatusBadRequest, "the body is not UTF-8")
	}
	f := &fields{}
	if !strings.HasPrefix(strings.TrimLeft(string(body[:min(len(body), 64)]), " \t\r\n"), "{") {
		return nil, newProblem(http.StatusBadRequest, "the body is not a JSON object")
	}
	if err := json.Unmarshal(body, &f.raw); err != nil {
		return nil, newProblem(http.StatusBadRequest, "the body is not a JSON object: "+err.Error())
	}
	return f, nil
}

// bad notes what is wrong with a field.
func (f *fields) bad(detail string, path ...string) {
	f.errs = append(f.errs, fieldProblem{Pointer: pointer(path...), Detail: detail})
}

// only notes all fields but the known ones.
func (f *fields) only(known ...string) {
	var unknown []string
	for name := range f.raw {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		f.bad("unknown field; known are "+strings.Join(known, ", "), name)
	}
}

// has reports whether a field is there; null is not.
func (f *fields) has(name string) bool {
	raw, ok := f.raw[name]
	return ok && !bytes.Equal(raw, []byte("null"))
}

// text reads a field that must be a string of at most limit bytes without
// control characters; empty if it is missing.
func (f *fields) text(name string, limit int) string {
	if !f.has(name) {
		return ""
	}
	var s string
	if err := json.Unmarshal(f.raw[name], &s); err != nil {
		f.bad("want a string", name)
		return ""
	}
	if detail := badText(s, limit); detail != "" {
		f.bad(detail, name)
		return ""
	}
	return s
}

// texts reads a field that must be a list of at most count such strings.
func (f *fields) texts(name string, count, limit int) []string {
	if !f.has(name) {
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(f.raw[name], &list); err != nil {
		f.bad("want a list of strings", name)
		return nil
	}
	if len(list) > count {
		f.bad("want at most "+strconv.Itoa(count)+" entries", name)
		return nil
	}
	var all []string
	for i, raw := range list {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil || string(raw) == "null" {
			f.bad("want a string", name, strconv.Itoa(i))
			continue
		}
		if detail := badText(s, limit); detail != "" {
			f.bad(detail, name, strconv.Itoa(i))
			continue
		}
		all = append(all, s)
	}
	return all
}

// err is nil if nothing is wrong.
func (f *fields) err() error {
	if len(f.errs) == 0 {
		return nil
	}
	return newProblem(http.StatusUnprocessableEntity, "the request is not valid; errors tells what and where", f.errs...)
}

// badText says what is wrong with a text that stands in one line; "" if nothing.
func badText(s string, limit int) string {
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
