// Package receiver is the catalogue of webhook providers: how each of them
// signs, what its deliveries and events are called, and what it wants to hear.
//
// A provider is one YAML file in the folder catalogue, of the form [Form]; [New]
// makes a receiver of a form of one's own. A [Source] is a receiver with secrets:
// it verifies requests and turns them into events ([Source.Receive]), says why
// one does not verify ([Source.Diagnose]), and signs requests as the provider
// would ([Source.Sign]). [Middleware] is the verification alone, for servers that
// want nothing else of Belay.
package receiver

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Receiver is one provider.
type Receiver struct {
	// Form is the provider's file.
	Form
}

// New makes a receiver of a form, under a name: its defaults are filled in, and
// it is checked as far as that can be done without a source's parameters. The
// error is a [*FieldError].
func New(slug string, f Form) (*Receiver, error) {
	r := &Receiver{f}
	r.Slug = slug
	if r.Name == "" {
		r.Name = slug
	}
	if len(r.Methods) == 0 {
		r.Methods = []string{http.MethodPost}
	}
	if r.MaxBody == 0 {
		r.MaxBody = defaultMaxBody
	}
	if len(r.Document) == 0 {
		r.Document = Templates{"{body}"}
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	err := (&Source{receiver: r}).compile(SourceConfig{})
	if field, ok := errors.AsType[*FieldError](err); ok {
		if name, ok := strings.CutPrefix(field.Field, "params."); ok {
			if r.Params[name].Default == "" {
				return r, nil // the sources must set it, and are told so
			}
			return nil, &FieldError{Field: field.Field + ".default", Value: field.Value, Want: field.Want}
		}
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// check looks at what compiling does not.
func (r *Receiver) check() error {
	if len(r.Signatures) == 0 {
		return &FieldError{Field: "signatures", Want: "at least one: without any, anybody could send"}
	}
	for i, m := range r.Methods {
		known := []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodGet, http.MethodDelete, http.MethodHead}
		if !slices.Contains(known, m) {
			return &FieldError{Field: fmt.Sprintf("methods[%d]", i), Value: m, Want: "one of " + strings.Join(known, ", ")}
		}
	}
	for i, t := range r.ContentTypes {
		if _, err := path.Match(t, ""); err != nil || t != mediaType(t) || !strings.Contains(t, "/") && t != "*" {
			return &FieldError{
				Field: fmt.Sprintf("content_types[%d]", i), Value: t,
				Want: "a media type in lower case and without parameters, such as application/json or application/*",
			}
		}
	}
	for i, name := range r.Keep {
		if !isToken(name) {
			return &FieldError{Field: fmt.Sprintf("keep[%d]", i), Value: name, Want: "the name of a header"}
		}
	}
	switch {
	case r.MaxBody < 0:
		return &FieldError{Field: "max_body", Value: fmt.Sprint(r.MaxBody), Want: "a number of bytes above zero"}
	case r.Timeout < 0:
		return &FieldError{Field: "timeout", Value: r.Timeout.String(), Want: "a duration above zero"}
	case r.Timestamp != nil && r.Timestamp.Tolerance < 0:
		return &FieldError{Field: "timestamp.tolerance", Value: r.Timestamp.Tolerance.String(), Want: "a duration above zero"}
	}
	return r.checkAnswers()
}

// checkAnswers looks at the statuses.
func (r *Receiver) checkAnswers() error {
	answers := map[string]AnswerForm{"answer": r.Answer}
	for i, h := range r.Handshakes {
		answers[fmt.Sprintf("handshakes[%d].answer", i)] = h.Answer
	}
	for i, u := range r.Unstored {
		answers[fmt.Sprintf("unstored[%d].answer", i)] = u.Answer
	}
	for _, field := range slices.Sorted(maps.Keys(answers)) {
		if status := answers[field].Status; status != 0 && (status < 200 || status > 299) {
			return &FieldError{Field: field + ".status", Value: fmt.Sprint(status), Want: "200 to 299"}
		}
	}
	return nil
}

// ParamNames lists what a source of this receiver can set besides its secrets,
// in alphabetical order.
func (r *Receiver) ParamNames() []string {
	return slices.Sorted(maps.Keys(r.Params))
}

// parse reads a provider's file.
func parse(slug string, text []byte) (*Receiver, error) {
	var f Form
	err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&f)
	if err != nil {
		return nil, fmt.Errorf("%s.yaml: %w", slug, err)
	}
	r, err := New(slug, f)
	if err != nil {
		return nil, fmt.Errorf("%s.yaml: %w", slug, err)
	}
	return r, nil
}
