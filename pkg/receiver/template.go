package receiver

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"
)

// A template is compiled text with placeholders; the language is described at
// [Form].
type template []part

// A part is a literal or a placeholder.
type part struct {
	kind kind
	arg  string // the literal; the name of a placeholder, for JSON its gjson path

	member, rest string // of JSON: the path's first key, and the path below it

	several  manner // what stands for several values, where a path leads to them
	optional bool   // empty text where there is nothing
}

// String is the placeholder's name, or what it is.
func (p part) String() string {
	if p.arg != "" {
		return p.arg
	}
	for word, known := range placeholders {
		if known.kind == p.kind {
			return "{" + word + "}"
		}
	}
	return ""
}

type kind uint8

const (
	literal kind = iota
	body
	timestamp
	method
	address
	otherPort
	header
	jsonValue
	formField
	queryParam
	formSorted
	documentText
	proofText
	xmlValue
	requestPath
	signedHeaders
	plivoURL
	bodyCRC32
	bodySHA256
	bodyBase64
	jsonLine
	canonicalRequest
	secretText // in a [Call] alone, as keyName
	keyName
)

// placeholders are the words of the language. named ones need a name after a colon.
var placeholders = map[string]struct {
	kind  kind
	named bool
}{
	"body":      {body, false},
	"timestamp": {timestamp, false},
	"method":    {method, false},
	"url":       {address, false},
	"url_port":  {otherPort, false},
	"header":    {header, true},
	"json":      {jsonValue, true},
	"form":      {formField, true},
	"query":     {queryParam, true},

	"form_sorted": {formSorted, false},
	"document":    {documentText, false},
	"signature":   {proofText, false},
	"xml":         {xmlValue, true},
	"path":        {requestPath, false},
	"headers":     {signedHeaders, true},
	"plivo_url":   {plivoURL, false},

	"body_crc32":        {bodyCRC32, false},
	"body_sha256":       {bodySHA256, false},
	"body_base64":       {bodyBase64, false},
	"json_line":         {jsonLine, true},
	"canonical_request": {canonicalRequest, true},
	"secret":            {secretText, false},
	"key_id":            {keyName, false},
}

// parseTemplate compiles text in which {param:…} is already replaced.
func parseTemplate(text string) (template, error) {
	var t template
	for {
		open, rest, ok := cutPlaceholder(text)
		if open != "" {
			t = append(t, part{kind: literal, arg: open})
		}
		if !ok {
			return t, nil
		}
		inner, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, fmt.Errorf("a placeholder that ends: { is not closed in %q", text)
		}
		p, err := parsePlaceholder(inner)
		if err != nil {
			return nil, err
		}
		t, text = append(t, p), after
	}
}

// cutPlaceholder splits text at the first brace that begins a placeholder. Other
// braces are text, so that an answer can be written as the JSON it is.
func cutPlaceholder(text string) (before, after string, found bool) {
	for i := 0; i+1 < len(text); i++ {
		if text[i] == '{' && text[i+1] >= 'a' && text[i+1] <= 'z' {
			return text[:i], text[i+1:], true
		}
	}
	return text, "", false
}

func parsePlaceholder(inner string) (part, error) {
	word, name, named := strings.Cut(inner, ":")
	known, ok := placeholders[word]
	switch {
	case !ok:
		return part{}, fmt.Errorf("one of {body} {timestamp} {method} {url} {url_port} {header:Name} {json:a.b} {form:name} {query:name} {param:name} {xml:a.b} {headers:Name} {path} {form_sorted} {document} {plivo_url} {signature}, not {%s}", inner)
	case known.named != named || named && name == "":
		return part{}, fmt.Errorf("a name after a colon where, and only where, one is needed; {%s} is wrong", inner)
	}
	name, optional := strings.CutSuffix(name, "?")
	switch known.kind {
	case header, signedHeaders:
		if !isToken(name) {
			return part{}, fmt.Errorf("the name of a header, not %q", name)
		}
		name = http.CanonicalHeaderKey(name)
	case jsonValue, jsonLine:
		keys := strings.Split(name, ".")
		for i, key := range keys {
			if key == "" {
				return part{}, fmt.Errorf("keys between single dots; {%s} has an empty one", inner)
			}
			// Only dots, keys and the star are part of the language, whatever else the
			// library knows.
			if keys[i] = gjson.Escape(key); key == "*" {
				keys[i] = "#"
			}
		}
		member, _, _ := strings.Cut(name, ".")
		return part{kind: known.kind, arg: strings.Join(keys, "."), member: member, rest: strings.Join(keys[1:], "."), optional: optional}, nil
	case xmlValue:
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
			return part{}, fmt.Errorf("names of elements between single dots; {%s} has an empty one", inner)
		}
	}
	return part{kind: known.kind, arg: name, optional: optional}, nil
}

// missing names the first placeholder that finds nothing in the request.
func (t template) missing(q *request) (string, bool) {
	for _, p := range t {
		if p.kind == body || p.kind == bodyBase64 || p.optional && (p.kind != jsonLine || !q.document.has(p)) {
			continue // an empty body is a body
		}
		if p.kind == formSorted && q.encodedForm() != nil {
			continue // so is an empty form
		}
		if q.value(p) == "" {
			return p.String(), true
		}
	}
	return "", false
}

// feed writes the text piece by piece: the body is never copied.
func (t template) feed(w io.Writer, q *request) {
	for _, p := range t {
		if p.kind == body {
			_, _ = w.Write(q.body) // a hash never fails
			continue
		}
		if p.kind == documentText {
			_, _ = w.Write(q.documents.bytes(q))
			continue
		}
		q.scratch = append(q.scratch[:0], q.value(p)...)
		_, _ = w.Write(q.scratch)
	}
}

// text is the template's text for the request; empty if it is absent.
func (t template) text(q *request) string {
	if len(t) == 1 {
		return q.value(t[0])
	}
	var b strings.Builder
	for _, p := range t {
		v := q.value(p)
		if v == "" && !p.optional || v == batch && p.several == orBatch {
			return v // of several events of one kind and another
		}
		b.WriteString(v)
	}
	return b.String()
}

// A choice is an ordered list of templates.
type choice []template

// text is the text of the first template that is not absent; empty if all are.
func (c choice) text(q *request) string {
	for _, t := range c {
		if v := t.text(q); v != "" {
			return v
		}
	}
	return ""
}

// bytes is text for what may be as large as the body.
func (c choice) bytes(q *request) []byte {
	for _, t := range c {
		if len(t) == 1 && t[0].kind == body {
			return q.body
		}
		if v := t.text(q); v != "" {
			return []byte(v)
		}
	}
	return nil
}

// constant reports whether the templates are the same for every request.
func (c choice) constant() bool {
	for _, t := range c {
		for _, p := range t {
			if p.kind != literal && p.kind != secretText {
				return false
			}
		}
	}
	return true
}

// usesJSON reports whether a value of the JSON document stands in the templates.
func (c choice) usesJSON() bool { return c.uses(jsonValue) || c.uses(jsonLine) }

// uses reports whether a placeholder of this kind stands in the templates.
func (c choice) uses(k kind) bool {
	for _, t := range c {
		for _, p := range t {
			if p.kind == k {
				return true
			}
		}
	}
	return false
}
