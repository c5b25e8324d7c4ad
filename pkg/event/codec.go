package event

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// SpecVersion is the CloudEvents version of the wire form.
const SpecVersion = "1.0"

// The headers of the wire form.
const (
	headerSpecVersion = "ce-specversion"
	headerID          = "ce-id"
	headerSource      = "ce-source"
	headerType        = "ce-type"
	headerTime        = "ce-time"
	headerReceiver    = "ce-belayreceiver"
	headerSourceID    = "ce-belaysource"
	headerKey         = "ce-belaykey"
	headerTenant      = "ce-belaytenant"
	headerTo          = "ce-belayto"
	headerWhen        = "ce-belaywhen"
	headerContentType = "content-type"
	headerTraceparent = "traceparent"

	// RequestPrefix marks the kept headers of the request. Its own prefix keeps
	// them apart from the attributes and from the broker's Nats-… headers.
	RequestPrefix = "http-"
)

// Encode returns the event as the headers and the data of a message, in
// CloudEvents binary mode
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/nats-protocol-binding.md):
//
//	┌─ headers ──────────────────────────────────────────────────────────┐
//	│ ce-specversion: 1.0                                                │
//	│ ce-id: 72d3162e-cc78-11e3-81ab-4c9367dc0958                        │
//	│ ce-source: /github/default                                         │
//	│ ce-type: github.pull_request.opened                                │
//	│ ce-time: 2026-11-22T10:00:00.123456789Z                            │
//	│ ce-belayreceiver: github   ce-belaysource: default   (a webhook)   │
//	│ ce-belaytenant: acme                            (a notification)   │
//	│ ce-belayto: https://hooks.example.com/x   (… that is for one URL)  │
//	│ ce-belaywhen: subscription.…   (… that is for some subscriptions)  │
//	│ ce-belaykey: octo/hello                             (if there is)  │
//	│ content-type: application/json                      (if there is)  │
//	│ traceparent: 00-0af7651916cd43dd8448eb211c80319c-…  (if there is)  │
//	│ http-X-Github-Event: pull_request    one for each kept header line │
//	├─ data ─────────────────────────────────────────────────────────────┤
//	│ the body, byte for byte                                            │
//	└────────────────────────────────────────────────────────────────────┘
//
// Values are percent-encoded as the CloudEvents HTTP and NATS bindings say:
// bytes outside printable ASCII, the space, the double quote and the percent
// sign. In content-type and the kept headers an inner space and the double
// quote stay as they are.
func (e *Event) Encode() (header map[string][]string, data []byte) {
	const attributes = 13
	h := make(map[string][]string, attributes+len(e.Header))
	// The single values lie side by side, and not each in an array of its own.
	all := make([]string, 0, attributes+len(e.Header))
	put := func(name, value string) {
		all = append(all, value)
		h[name] = all[len(all)-1 : len(all) : len(all)]
	}
	set := func(name, value string) {
		if value != "" {
			put(name, escapeValue(value))
		}
	}
	put(headerSpecVersion, SpecVersion)
	set(headerID, e.ID)
	set(headerSource, e.Source)
	set(headerType, e.Type)
	if !e.Time.IsZero() {
		put(headerTime, e.Time.UTC().Format(time.RFC3339Nano))
	}
	set(headerReceiver, e.Receiver)
	set(headerSourceID, e.SourceID)
	set(headerKey, e.Key)
	set(headerTenant, e.Tenant)
	set(headerTo, e.To)
	set(headerWhen, e.When)
	set(headerTraceparent, e.Traceparent)
	if e.ContentType != "" {
		put(headerContentType, escapeText(e.ContentType))
	}
	for name, values := range e.Header {
		if len(values) == 1 {
			put(RequestPrefix+name, escapeText(values[0]))
			continue
		}
		escaped := make([]string, len(values))
		for i, v := range values {
			escaped[i] = escapeText(v)
		}
		h[RequestPrefix+name] = escaped
	}
	return h, e.Body
}

// Decode is the reverse of [Event.Encode]. Headers that are not the event's
// (the broker's own) are passed over. It fails if an attribute is missing that
// CloudEvents requires, or a value is not well-formed.
func Decode(header map[string][]string, data []byte) (*Event, error) {
	if v := HeaderValue(header, headerSpecVersion); v != SpecVersion {
		return nil, fmt.Errorf("event: %s is %q, want %q", headerSpecVersion, v, SpecVersion)
	}
	e := &Event{Body: data}
	for name, values := range header {
		if err := e.read(name, values); err != nil {
			return nil, fmt.Errorf("event: %s: %w", name, err)
		}
	}
	for _, required := range [...]struct{ name, value string }{
		{headerID, e.ID}, {headerSource, e.Source}, {headerType, e.Type},
	} {
		if required.value == "" {
			return nil, fmt.Errorf("event: %s is missing", required.name)
		}
	}
	return e, nil
}

// read takes what a header tells of the event.
func (e *Event) read(name string, values []string) (err error) {
	if len(values) == 0 {
		return nil
	}
	if kept, ok := strings.CutPrefix(name, RequestPrefix); ok {
		return e.readKept(kept, values)
	}
	if name == headerTime {
		return e.readTime(values[0])
	}
	if field := e.attribute(name); field != nil {
		*field, err = unescape(values[0])
	}
	return err
}

// attribute is where the text of a header belongs; nil: nowhere.
func (e *Event) attribute(header string) *string {
	switch header {
	case headerID:
		return &e.ID
	case headerSource:
		return &e.Source
	case headerType:
		return &e.Type
	case headerReceiver:
		return &e.Receiver
	case headerSourceID:
		return &e.SourceID
	case headerKey:
		return &e.Key
	case headerTenant:
		return &e.Tenant
	case headerTo:
		return &e.To
	case headerWhen:
		return &e.When
	case headerContentType:
		return &e.ContentType
	case headerTraceparent:
		return &e.Traceparent
	}
	return nil
}

func (e *Event) readTime(text string) (err error) {
	if text == "" {
		return nil
	}
	if e.Time, err = time.Parse(time.RFC3339Nano, text); err != nil {
		return err
	}
	// At either end of the calendar its year in UTC can be one that has no
	// form with four digits, and could not be encoded again.
	if y := e.Time.UTC().Year(); y < 0 || y > 9999 {
		return fmt.Errorf("%q is not within the years 0 to 9999 UTC", text)
	}
	return nil
}

func (e *Event) readKept(name string, values []string) error {
	if e.Header == nil {
		e.Header = make(http.Header)
	}
	kept := make([]string, len(values))
	for i, v := range values {
		var err error
		if kept[i], err = unescape(v); err != nil {
			return err
		}
	}
	e.Header[name] = kept
	return nil
}

// Keep copies the named lines of a request's headers onto the event, in the
// request's own order.
func (e *Event) Keep(request http.Header, names ...string) {
	for _, name := range names {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if values := request[name]; len(values) > 0 {
			if e.Header == nil {
				e.Header = make(http.Header, len(names))
			}
			e.Header[name] = values
		}
	}
}

// HeaderValue is the first value of a header of a stored message, whose names stand as they
// were written; empty if there is none.
func HeaderValue(header map[string][]string, name string) string {
	if values := header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}
