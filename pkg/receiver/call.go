package receiver

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxCallHeader bounds in bytes what a request brings into a header of a call.
const maxCallHeader = 256

// A call is a compiled [Call].
type call struct {
	method  string
	url     template
	allowed urlPatterns
	headers []answerHeader
	basic   template
	body    template
	media   string // of the body
}

// fill is the call for a request; not ok if the request does not have what
// belongs into it, or asks for what is not allowed.
func (c *call) fill(q *request) (o outgoing, ok bool) {
	o = outgoing{method: c.method, url: c.url.text(q), header: http.Header{}}
	if !c.allowed.fit(o.url) {
		return o, false
	}
	for _, h := range c.headers {
		v := h.value.text(q)
		if len(v) > maxCallHeader || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
			return o, false
		}
		if v != "" {
			o.header.Set(h.name, v)
		}
	}
	if len(c.basic) > 0 {
		user, password, _ := strings.Cut(c.basic.text(q), ":")
		if user == "" {
			return o, false
		}
		o.user = url.UserPassword(user, password)
	}
	escape := escapeFor(c.media)
	for _, p := range c.body {
		v := q.value(p)
		if v == "" {
			return o, false
		}
		if p.kind != literal {
			v = escape(v)
		}
		o.body = append(o.body, v...)
	}
	return o, true
}

// templates are all that are filled from a request.
func (c *call) templates() []choice {
	if c == nil {
		return nil
	}
	all := []choice{{c.url}, {c.basic}, {c.body}}
	for _, h := range c.headers {
		all = append(all, choice{h.value})
	}
	return all
}

// call compiles a call; the field is where it stands in the form.
func (c *compiler) call(field string, f Call) (*call, error) {
	made := &call{method: f.Method}
	switch made.method {
	case "":
		made.method = http.MethodGet
	case http.MethodGet, http.MethodPost:
	default:
		return nil, &FieldError{Field: field + "method", Value: f.Method, Want: "GET or POST"}
	}
	var err error
	if made.url, err = c.callTemplate(field+"url", f.URL); err != nil {
		return nil, err
	}
	if made.allowed, err = c.urlPatterns(field, f, made.url); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(f.Headers)) {
		if !isToken(name) {
			return nil, &FieldError{Field: field + "headers", Value: name, Want: "the name of a header"}
		}
		h := answerHeader{name: http.CanonicalHeaderKey(name)}
		if h.value, err = c.callTemplate(field+"headers."+name, f.Headers[name]); err != nil {
			return nil, err
		}
		if h.name == "Content-Type" {
			made.media = mediaType(f.Headers[name])
		}
		made.headers = append(made.headers, h)
	}
	if made.basic, err = c.callTemplate(field+"basic", f.Basic); err != nil {
		return nil, err
	}
	made.body, err = c.callTemplate(field+"body", f.Body)
	return made, err
}

// urlPatterns compiles what a call may ask for.
func (c *compiler) urlPatterns(field string, f Call, at template) (urlPatterns, error) {
	texts := f.URLs
	if len(texts) == 0 {
		if len(at) != 1 || at[0].kind != literal || strings.Contains(at[0].arg, "*") {
			return nil, c.blame(field+"urls", f.URL, "the patterns of what the URL may be, where it is none yet")
		}
		texts = []string{f.URL}
	}
	var all urlPatterns
	for i, text := range texts {
		p, err := parseURLPattern(c.expand(text))
		if err != nil {
			return nil, c.blame(fmt.Sprintf("%surls[%d]", field, i), text, err.Error())
		}
		all = append(all, p)
	}
	return all, nil
}

// callTemplate compiles a template that may hold what only the provider may see.
func (c *compiler) callTemplate(field, text string) (template, error) {
	t, err := parseTemplate(c.expand(text))
	if err != nil {
		return nil, c.blame(field, text, err.Error())
	}
	return t, nil
}
