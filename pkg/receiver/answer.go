package receiver

import (
	"crypto/subtle"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
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

// A proof is a compiled [Proof].
type proof struct {
	content   template
	algorithm algorithm
	encoding  encoding
	pattern   *regexp.Regexp // of the content; nil: any
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

// prove signs what the answer is to prove; not ok if the request has nothing
// that may be signed.
func (s *Source) prove(p *proof, q *request) (ok bool, err error) {
	text := p.content.text(q)
	if p.pattern != nil && !p.pattern.MatchString(text) {
		return false, nil
	}
	const harmless = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="
	field := strings.Contains(strings.TrimRight(text, "="), "=") // of a form, and not the end of base64
	if text == "" || len(text) > maxProven || strings.Trim(text, harmless) != "" || field || json.Valid([]byte(text)) {
		return false, nil
	}
	if len(s.secrets) == 0 {
		return false, refuse(SecretUnavailable, "the answer takes a secret, and there is none")
	}
	key, err := s.signatures[0].secretKey(s.secrets[0])
	if err != nil {
		return false, refuse(SecretUnavailable, "%v", err)
	}
	sum, err := p.algorithm.sign(key, p.content, q)
	if err != nil {
		return false, refuse(SecretUnavailable, "%v", err)
	}
	q.proof = p.encoding.encode(sum)
	return true, nil
}

// escapeFor is what makes a value safe in a body of a media type.
func escapeFor(media string) func(string) string {
	switch {
	case isJSON(media):
		return jsonEscape
	case isXML(media):
		return xmlEscape
	}
	return func(s string) string { return s }
}

// xmlEscape makes a value safe between the tags and the quotes of XML.
func xmlEscape(s string) string {
	var b strings.Builder
	if xml.EscapeText(&b, []byte(s)) != nil {
		return ""
	}
	return b.String()
}

// jsonEscape makes a value safe between the quotes of a JSON string.
func jsonEscape(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return string(quoted[1 : len(quoted)-1])
}

// An unstored is a compiled [Unstored].
type unstored struct {
	when   []condition
	call   *call // nil: none is made
	answer answer
}

// A condition is that a template has a value. Neither an empty value nor an
// absent one ever has it.
type condition struct {
	template template
	wants    []string // one of them
	any      bool
}

func (c condition) holds(q *request) bool {
	got := c.template.text(q)
	if got == "" || c.any {
		return got != ""
	}
	found := 0
	for _, want := range c.wants {
		found |= subtle.ConstantTimeCompare([]byte(got), []byte(want))
	}
	return found == 1
}

func (u unstored) matches(q *request) bool { return holdAll(u.when, q) }

func holdAll(all []condition, q *request) bool {
	for _, c := range all {
		if !c.holds(q) {
			return false
		}
	}
	return true
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

// templates are all that are filled from a request.
func (u unstored) templates() []choice {
	all := u.answer.templates()
	for _, c := range u.when {
		all = append(all, choice{c.template})
	}
	return append(all, u.call.templates()...)
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

func (c *compiler) proof(field string, f *Proof) (p *proof, err error) {
	if f == nil {
		return nil, nil
	}
	p = &proof{}
	if p.content, err = c.template(field+"content", f.Content); err != nil {
		return nil, err
	}
	if p.encoding, err = oneOf(c, field+"encoding", f.Encoding, encodings); err != nil {
		return nil, err
	}
	if p.algorithm, err = oneOf(c, field+"algorithm", f.Algorithm, algorithms); err != nil {
		return nil, err
	}
	if _, ok := p.algorithm.(hmacOf); !ok {
		return nil, c.blame(field+"algorithm", f.Algorithm, "one of the HMACs")
	}
	if f.Pattern == "" {
		return p, nil
	}
	if p.pattern, err = regexp.Compile("^(?:" + f.Pattern + ")$"); err != nil {
		return nil, c.blame(field+"pattern", f.Pattern, "a regular expression")
	}
	return p, nil
}

func (c *compiler) unstored(forms []Unstored) ([]unstored, error) {
	var all []unstored
	for i, f := range forms {
		field := fmt.Sprintf("unstored[%d].", i)
		if len(f.When) == 0 {
			return nil, &FieldError{Field: field + "when", Want: "a condition: without one nothing would be stored"}
		}
		u, err := c.kind(field, f.When, f.Answer)
		if err != nil {
			return nil, err
		}
		if f.Call != nil {
			if u.call, err = c.call(field+"call.", *f.Call); err != nil {
				return nil, err
			}
		}
		all = append(all, u)
	}
	return all, nil
}

// kind compiles a kind of request that is answered and not stored.
func (c *compiler) kind(field string, when map[string]string, f AnswerForm) (u unstored, err error) {
	if u.answer, err = c.answer(field+"answer", f); err != nil {
		return u, err
	}
	u.when, err = c.conditions(field+"when", when)
	return u, err
}

func (c *compiler) conditions(field string, when map[string]string) ([]condition, error) {
	var all []condition
	for _, text := range slices.Sorted(maps.Keys(when)) {
		t, err := c.template(field, text)
		if err != nil {
			return nil, err
		}
		all = append(all, condition{template: t, wants: c.values(when[text]), any: when[text] == "*"})
	}
	return all, nil
}
