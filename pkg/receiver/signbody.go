package receiver

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/sjson"
)

// put is the request with a value at a place. Of a body that changes, all but the
// value stays as it is.
func (s *Source) put(q *request, p place, value string) (*request, error) {
	switch p.at.kind {
	case jsonValue:
		return s.putJSON(q, p.at.arg, p.prefix+value)
	case formField:
		return s.putField(q, p.at.arg, p.prefix+value)
	case xmlValue:
		return nil, fmt.Errorf("%s is part of the body, which must have it already", p)
	}
	p.put(q.Request, value)
	return q, nil
}

// signItems is the request with a signature in each item.
func (s *Source) signItems(sig *signature, key []byte, q *request, now time.Time) (*request, error) {
	items := q.document.items(*s.items)
	if len(items) == 0 {
		return nil, fmt.Errorf("no items in %s, which are signed one by one", s.items)
	}
	if sig.at.kind != jsonValue {
		return nil, fmt.Errorf("%s is no part of an item, each of which is signed", sig.place)
	}
	for i, item := range items {
		one := &request{Request: q.Request, body: q.body, documents: s.document, source: s, document: item}
		signature, err := s.signatureOf(sig, key, one, now)
		if err == nil {
			q, err = s.putJSON(q, fmt.Sprintf("%s.%d.%s", s.items.arg, i, sig.at.arg), sig.prefix+signature)
		}
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
	}
	return q, nil
}

// errNoDocument says that a signature belongs into JSON that is not there.
var errNoDocument = errors.New("the body holds no JSON document, which the signature stands in")

// putJSON is the request with a text in its JSON document.
func (s *Source) putJSON(q *request, path, value string) (*request, error) {
	if !s.findDocument(q) {
		return nil, errNoDocument
	}
	text, err := sjson.SetBytes(s.documentText(q), path, value)
	if err != nil {
		return nil, fmt.Errorf("write the signature into the JSON document: %w", err)
	}
	if s.encoded {
		text = base64.StdEncoding.AppendEncode(nil, text)
	}
	for _, t := range s.document { // the first that is there
		switch {
		case len(t) == 1 && t[0].kind == body:
			return s.changed(q, text), nil
		case t.text(q) == "":
		case len(t) == 1 && t[0].kind == formField:
			return s.putField(q, t[0].arg, string(text))
		}
	}
	return nil, errNoDocument
}

// putField is the request with a field of its form.
func (s *Source) putField(q *request, name, value string) (*request, error) {
	if q.encodedForm() == nil {
		return nil, fmt.Errorf("the signature stands in the field %s of a form: only one of the type %s can be changed", name, formEncoded)
	}
	fields := strings.Split(string(q.body), "&")
	isIt := func(field string) bool {
		key, _, _ := strings.Cut(field, "=")
		key, err := url.QueryUnescape(key)
		return err == nil && key == name
	}
	at := slices.IndexFunc(fields, isIt)
	fields = slices.DeleteFunc(fields, func(field string) bool { return field == "" || isIt(field) })
	if at < 0 || at > len(fields) {
		at = len(fields)
	}
	fields = slices.Insert(fields, at, url.QueryEscape(name)+"="+url.QueryEscape(value))
	return s.changed(q, []byte(strings.Join(fields, "&"))), nil
}

// changed is the request with another body.
func (s *Source) changed(q *request, body []byte) *request {
	other := s.request(q.Request, body)
	other.timestamp = q.timestamp
	return other
}
