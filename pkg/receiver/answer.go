package receiver

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxFill bounds in bytes what a request brings into an answer.
	maxFill = 4096
	// maxProven bounds what a stranger can have signed by an answer.
	maxProven = 256
)

// Answer is the HTTP answer that a provider wants.
type Answer struct {
	// Status is the HTTP status: 2xx, and in a refusal 4xx.
	Status int
	// Header are further headers; nil where there are none.
	Header http.Header
	// ContentType is the media type of Body; empty where there is no body.
	ContentType string
	// Body is empty for most providers.
	Body []byte
}

// Send answers with it. A browser is kept from guessing another type than that of
// the body, some of which may come from who asks.
func (a *Answer) Send(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.Header)
	if a.ContentType != "" {
		w.Header().Set("Content-Type", a.ContentType)
		w.Header().Set("X-Content-Type-Options", "nosniff")
	}
	w.WriteHeader(a.Status)
	if len(a.Body) > 0 {
		_, _ = w.Write(a.Body) // a sender that hung up will try again
	}
}

// An answer is a compiled [AnswerForm].
type answer struct {
	status      int
	contentType string
	headers     []answerHeader // in the order of their names
	body        template
	proof       *proof
}

// An answerHeader is a header of an answer.
type answerHeader struct {
	name  string // canonical
	value template
}

// answered fills an answer for a request that is accepted.
func (s *Source) answered(a answer, q *request) (Received, error) {
	filled, ok, err := s.fill(a, q)
	if err == nil && !ok {
		err = refuse(Unreadable, "the request has nothing to answer with")
	}
	return Received{Answer: filled}, err
}

// fill is the answer to a request. It is not ok if the request does not have
// what belongs into it.
func (s *Source) fill(a answer, q *request) (filled Answer, ok bool, err error) {
	if a.proof != nil {
		if ok, err = s.prove(a.proof, q); !ok || err != nil {
			return Answer{}, false, err
		}
	}
	filled = Answer{Status: a.status}
	if filled.Header, ok = a.header(q); !ok || len(a.body) == 0 {
		return filled, ok, nil
	}
	filled.ContentType = a.contentType
	escape := escapeFor(mediaType(a.contentType))
	for _, p := range a.body {
		v := q.value(p)
		switch {
		case v == "" && !p.optional || p.kind != literal && len(v) > maxFill:
			return Answer{}, false, nil
		case p.kind != literal:
			v = escape(v)
		}
		filled.Body = append(filled.Body, v...)
	}
	return filled, true, nil
}

// header fills the headers. What is no value of a header is none to answer with.
func (a answer) header(q *request) (h http.Header, ok bool) {
	for _, f := range a.headers {
		v := f.value.text(q)
		if v == "" || len(v) > maxFill || strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c > '~' }) {
			return nil, false
		}
		if h == nil {
			h = make(http.Header, len(a.headers))
		}
		h.Set(f.name, v)
	}
	return h, true
}

// templates are all that are filled from a request.
func (a answer) templates() []choice {
	all := []choice{{a.body}}
	for _, h := range a.headers {
		all = append(all, choice{h.value})
	}
	if a.proof != nil {
		all = append(all, choice{a.proof.content})
	}
	return all
}

func (c *compiler) answer(field string, f AnswerForm) (answer, error) {
	a := answer{status: f.Status, contentType: f.ContentType}
	if a.status == 0 {
		a.status = http.StatusAccepted
	}
	if a.contentType == "" {
		a.contentType = "text/plain; charset=utf-8"
	}
	var err error
	if a.body, err = c.template(field+".body", f.Body); err != nil {
		return a, err
	}
	if a.proof, err = c.proof(field+".proof.", f.Proof); err != nil {
		return a, err
	}
	if a.headers, err = c.headers(field+".headers.", f.Headers); err != nil {
		return a, err
	}
	uses := slices.ContainsFunc(a.templates(), func(t choice) bool { return t.uses(proofText) })
	if (a.proof != nil) != uses {
		return a, c.blame(field+".body", f.Body, "{signature} where, and only where, there is a proof")
	}
	return a, nil
}

func (c *compiler) headers(field string, forms map[string]string) (all []answerHeader, err error) {
	for _, name := range slices.Sorted(maps.Keys(forms)) {
		h := answerHeader{name: http.CanonicalHeaderKey(name)}
		if !isToken(name) {
			return nil, &FieldError{Field: field + name, Value: name, Want: "the name of a header"}
		}
		if h.value, err = c.template(field+name, forms[name]); err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

// refused compiles the answer to refusals.
func (c *compiler) refused(f AnswerForm) (a answer, err error) {
	if a, err = c.answer("refused", f); err != nil {
		return a, err
	}
	switch {
	case a.proof != nil:
		return a, &FieldError{Field: "refused.proof", Want: "none: nothing is signed for a stranger"}
	case f.Status != 0 && (f.Status < 400 || f.Status > 499):
		return a, &FieldError{Field: "refused.status", Value: strconv.Itoa(f.Status), Want: "a status from 400 to 499"}
	}
	a.status = f.Status
	return a, nil
}

// refuse gives a refusal the answer that the provider knows. That a secret is not
// there has nothing to do with the sender.
func (s *Source) refuse(err error, q *request) error {
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok || refusal.Status >= http.StatusInternalServerError {
		return err
	}
	if s.refused.status != 0 {
		refusal.Status = s.refused.status
	}
	if filled, ok, err := s.fill(s.refused, q); ok && err == nil && len(filled.Body) > 0 {
		filled.Status = refusal.Status
		refusal.Answer = &filled
	}
	return err
}
