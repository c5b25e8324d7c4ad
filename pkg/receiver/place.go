package receiver

import (
	"iter"
	"net/http"
	"strings"
)

// A place is a compiled [Place].
type place struct {
	at                part // a header, a parameter, a field or a value
	separator, prefix string
}

// String says where it is, for people.
func (p place) String() string {
	words := map[kind]string{header: "the header", queryParam: "the query parameter", formField: "the form field", jsonValue: "the JSON value", xmlValue: "the XML element"}
	return words[p.at.kind] + " " + p.at.arg
}

// inBody reports whether it stands in the request's body.
func (p place) inBody() bool {
	return p.at.kind == formField || p.at.kind == jsonValue || p.at.kind == xmlValue
}

// items yields what stands there after the prefix.
func (p place) items(q *request) iter.Seq[string] {
	return func(yield func(string) bool) {
		value := q.value(p.at)
		if value == "" || len(value) > maxSignatureHeader {
			return
		}
		if p.separator == "" {
			if item, ok := cutPrefix(value, p.prefix); ok {
				yield(item)
			}
			return
		}
		between := func(r rune) bool { return strings.ContainsRune(p.separator, r) }
		for item := range strings.FieldsFuncSeq(value, between) {
			// Some senders join a list with both a comma and a blank.
			item, ok := cutPrefix(strings.Trim(item, " \t,"), p.prefix)
			if ok && !yield(item) {
				return
			}
		}
	}
}

// cutPrefix cuts a prefix in either case: bearer is Bearer
// (https://www.rfc-editor.org/rfc/rfc9110#section-11.1), and SHA256= is sha256=.
func cutPrefix(s, prefix string) (after string, found bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// first is the first value there that is not empty.
func (p place) first(q *request) string {
	for item := range p.items(q) {
		if item != "" {
			return item
		}
	}
	return ""
}

// clear takes away what stands in the header or the parameter.
func (p place) clear(r *http.Request) {
	switch p.at.kind {
	case header:
		r.Header.Del(p.at.arg)
	case queryParam:
		query := r.URL.Query()
		query.Del(p.at.arg)
		r.URL.RawQuery = query.Encode()
	}
}

// put adds a value to the header or the parameter.
func (p place) put(r *http.Request, value string) {
	item := p.prefix + value
	switch p.at.kind {
	case header:
		if there := r.Header.Get(p.at.arg); there != "" && p.separator != "" {
			item = there + p.separator + item
		}
		r.Header.Set(p.at.arg, item)
	case queryParam:
		query := r.URL.Query()
		query.Set(p.at.arg, item)
		r.URL.RawQuery = query.Encode()
	}
}

// place compiles a place; the field is where it stands in the form.
func (c *compiler) place(field string, f Place) (place, error) {
	p := place{separator: c.expand(f.Separator), prefix: c.expand(f.Prefix)}
	var given int
	for _, at := range []struct {
		key, name string
		kind      kind
	}{
		{"header", f.Header, header}, {"query", f.Query, queryParam}, {"form", f.Form, formField}, {"json", f.JSON, jsonValue}, {"xml", f.XML, xmlValue},
	} {
		if at.name == "" {
			continue
		}
		given++
		name := c.expand(at.name)
		var err error
		if p.at, err = parsePlaceholder(at.key + ":" + name); err != nil {
			want := err.Error()
			if at.kind == header {
				want = "the name of a header"
			}
			return place{}, c.blame(field+at.key, at.name, want)
		}
	}
	if given != 1 {
		return place{}, &FieldError{Field: strings.TrimSuffix(field, "."), Want: "one of header, query, form, json and xml"}
	}
	return p, nil
}
