package expression

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/belay-hooks/belay/pkg/event"
)

// document is the body as a value: of JSON, with its numbers as [json.Number].
func document(e *event.Event) any {
	if len(e.Body) == 0 {
		return nil
	}
	if media, _, err := mime.ParseMediaType(e.ContentType); err == nil && media == "application/x-www-form-urlencoded" {
		if form, ok := formDocument(string(e.Body)); ok {
			return form
		}
	}
	if v, ok := parse(e.Body); ok {
		return v
	}
	return strings.ToValidUTF8(string(e.Body), string(utf8.RuneError))
}

func formDocument(body string) (any, bool) {
	form, err := url.ParseQuery(body)
	if err != nil {
		return nil, false
	}
	if payload := form["payload"]; len(payload) == 1 {
		if v, ok := parse([]byte(payload[0])); ok {
			return v, true
		}
	}
	fields := make(map[string]any, len(form))
	for name, values := range form {
		if len(values) == 1 {
			fields[name] = values[0]
			continue
		}
		list := make([]any, len(values))
		for i, v := range values {
			list[i] = v
		}
		fields[name] = list
	}
	return fields, true
}

// parse reads a JSON text. A name that is there twice has its last value, as jq and
// JavaScript have it.
func parse(text []byte) (any, bool) {
	d := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	v, err := parseValue(d)
	if err != nil {
		return nil, false
	}
	_, err = d.ReadToken()
	return v, errors.Is(err, io.EOF)
}

func parseValue(d *jsontext.Decoder) (any, error) {
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return token.Bool(), nil
	case '"':
		return token.String(), nil
	case '0':
		return json.Number(token.String()), nil
	case '[':
		list := []any{}
		for d.PeekKind() != ']' {
			v, err := parseValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.ReadToken()
		return list, err
	}
	object := map[string]any{}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		if object[key], err = parseValue(d); err != nil {
			return nil, err
		}
	}
	_, err = d.ReadToken()
	return object, err
}

// headers are the kept headers by their names in lower case.
func headers(e *event.Event) map[string]string {
	h := make(map[string]string, len(e.Header))
	for name, values := range e.Header {
		h[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return h
}

// attributes are those of the event, by the names that expressions have for them.
var attributes = map[string]func(e *event.Event) any{
	"id":           func(e *event.Event) any { return e.ID },
	"type":         func(e *event.Event) any { return e.Type },
	"name":         func(e *event.Event) any { return e.Name() },
	"source":       func(e *event.Event) any { return strings.TrimPrefix(e.Source, "/") },
	"receiver":     func(e *event.Event) any { return e.Receiver },
	"key":          func(e *event.Event) any { return e.Key },
	"tenant":       func(e *event.Event) any { return e.Tenant },
	"content_type": func(e *event.Event) any { return e.ContentType },
	"time":         func(e *event.Event) any { return e.Time },
	"run":          func(e *event.Event) any { return e.Run },
	"attempt":      func(e *event.Event) any { return e.Attempt },
}

// values are what the handlers before have left.
func values(e *event.Event) map[string]any {
	all := make(map[string]any, len(e.Values))
	for name, text := range e.Values {
		if v, ok := parse(text); ok && name != event.BodyValue {
			all[name] = v
		}
	}
	return all
}

// text is a time as JSON has it.
func text(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
