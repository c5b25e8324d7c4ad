package outbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/event"
)

// The media types of CloudEvents.
const (
	structuredType  = "application/cloudevents+json"
	batchType       = "application/cloudevents-batch+json"
	defaultDataType = "application/json"
)

// The limits of a notification's attributes, in bytes and entries.
const (
	maxEventID       = 256
	maxEventSource   = 1024
	maxEventType     = 256
	maxAttribute     = 1024
	maxAttributes    = 32
	maxAttributeName = 64
	// maxStoredHeaders bounds all of them together, as they are stored. The broker takes 64 KiB
	// of headers, and a delivery and its dead letter have some of their own.
	maxStoredHeaders = 56 << 10
)

// attributePrefix marks attributes in binary mode, and those on the stored event
// that it has no field of its own for: subject, dataschema, extensions.
const attributePrefix = "Ce-"

// digest is a hash over texts that tells them apart however they are cut.
func digest(texts ...string) string {
	all := make([]byte, 0, 256)
	for _, t := range texts {
		all = strconv.AppendInt(all, int64(len(t)), 10)
		all = append(append(all, ':'), t...)
	}
	sum := sha256.Sum256(all)
	return hex.EncodeToString(sum[:20])
}

// parseNotification reads a CloudEvent from a request, in structured mode
// (application/cloudevents+json) or in binary mode (headers ce-…), as
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
// says. Errors are problems that point to what is wrong.
func parseNotification(header http.Header, body []byte, tenant string, now time.Time) (*event.Event, error) {
	contentType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		contentType = ""
	}
	var e *event.Event
	switch {
	case contentType == structuredType:
		e, err = parseStructured(body, now)
	case header.Get("Ce-Id") != "" || header.Get("Ce-Specversion") != "":
		e, err = parseBinary(header, body, now)
	default:
		return nil, rest.NewProblem(http.StatusUnsupportedMediaType,
			"want a CloudEvent: Content-Type "+structuredType+" or "+batchType+", or the headers ce-specversion, ce-id, ce-source and ce-type")
	}
	if err != nil {
		return nil, err
	}
	e.Tenant = tenant
	if e.Traceparent == "" {
		if trace := header.Get("Traceparent"); rest.BadText(trace, maxAttribute) == "" {
			e.Traceparent = trace
		}
	}
	if len(e.Body) > maxData {
		return nil, rest.NewProblem(http.StatusRequestEntityTooLarge, "the data is larger than "+strconv.Itoa(maxData)+" bytes")
	}
	if storedHeaders(e) > maxStoredHeaders {
		return nil, rest.NewProblem(http.StatusRequestEntityTooLarge,
			"the attributes, percent-encoded, take more than "+strconv.Itoa(maxStoredHeaders)+" bytes together")
	}
	return e, nil
}

// storedHeaders is how many bytes the headers of a stored event take.
func storedHeaders(e *event.Event) (n int) {
	header, _ := e.Encode()
	for name, values := range header {
		n += len(name) + len(": \r\n") + len(values[0]) // each has one value
	}
	return n
}

// attributes are those of a CloudEvent by name, as text.
type attributes struct {
	values map[string]string
	bad    func(name, detail string)
}

// take reads one attribute and leaves the rest.
func (a attributes) take(name string, required bool, limit int) string {
	value, ok := a.values[name]
	delete(a.values, name)
	switch detail := rest.BadText(value, limit); {
	case !ok && required, ok && value == "":
		a.bad(name, "required by CloudEvents; want a text that is not empty")
	case detail != "":
		a.bad(name, detail)
	}
	return value
}

// event makes an event of the attributes.
func (a attributes) event(now time.Time) *event.Event {
	if v := a.take("specversion", true, 16); v != "" && v != event.SpecVersion {
		a.bad("specversion", "want "+event.SpecVersion)
	}
	e := &event.Event{
		ID:          a.take("id", true, maxEventID),
		Source:      a.take("source", true, maxEventSource),
		Type:        a.take("type", true, maxEventType),
		ContentType: a.take("datacontenttype", false, maxAttribute),
		Traceparent: a.take("traceparent", false, maxAttribute),
		Time:        now.UTC(),
	}
	if _, err := url.Parse(e.Source); err != nil {
		a.bad("source", "want a URI reference")
	}
	if e.ContentType != "" {
		if _, _, err := mime.ParseMediaType(e.ContentType); err != nil || !validHeaderText(e.ContentType) {
			a.bad("datacontenttype", "want a media type such as "+defaultDataType)
		}
	}
	if text := a.take("time", false, 64); text != "" {
		t, err := time.Parse(time.RFC3339Nano, text)
		if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 {
			a.bad("time", "want a time of RFC 3339, such as 2026-11-22T10:00:00Z")
		}
		e.Time = t
	}
	a.keep(e)
	return e
}

// keep puts the attributes that are left on the event's headers.
func (a attributes) keep(e *event.Event) {
	if len(a.values) > maxAttributes {
		a.bad("", "want at most "+strconv.Itoa(maxAttributes)+" attributes besides those of an event")
		return
	}
	names := make([]string, 0, len(a.values))
	for name := range a.values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !validAttribute(name) {
			a.bad(name, "want an attribute name of at most "+strconv.Itoa(maxAttributeName)+" lower-case letters and digits")
			continue
		}
		if detail := rest.BadText(a.values[name], maxAttribute); detail != "" {
			a.bad(name, detail)
			continue
		}
		if e.Header == nil {
			e.Header = make(http.Header)
		}
		e.Header.Set(attributePrefix+name, a.values[name])
	}
}

func validAttribute(name string) bool {
	if name == "" || len(name) > maxAttributeName || name == "data" {
		return false
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9') {
			return false
		}
	}
	return true
}

// parseStructured reads the JSON format
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md).
func parseStructured(body []byte, now time.Time) (*event.Event, error) {
	f, err := readFields(body)
	if err != nil {
		return nil, err
	}
	a := attributes{
		values: make(map[string]string),
		bad:    func(name, detail string) { f.Bad(detail, name) },
	}
	for name, raw := range f.Raw {
		if name == "data" || name == "data_base64" || !f.Has(name) {
			continue
		}
		value, ok := attributeText(raw)
		if !ok {
			f.Bad("want a string, a boolean or an integer", name)
			continue
		}
		a.values[name] = value
	}
	e := a.event(now)
	f.data(e)
	// The order of a map is not that of the request.
	slices.SortStableFunc(f.Errs, func(a, b rest.FieldProblem) int { return strings.Compare(a.Pointer, b.Pointer) })
	f.Errs = slices.CompactFunc(f.Errs, func(a, b rest.FieldProblem) bool { return a.Pointer == b.Pointer })
	if err := f.Err(); err != nil {
		return nil, err
	}
	return e, nil
}

// attributeText is the canonical text of an attribute's JSON value.
func attributeText(raw json.RawMessage) (string, bool) {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s, true
	}
	var b bool
	if json.Unmarshal(raw, &b) == nil {
		return strconv.FormatBool(b), true
	}
	var n int32 // all that CloudEvents allows
	if json.Unmarshal(raw, &n) == nil {
		return strconv.Itoa(int(n)), true
	}
	return "", false
}

// data reads the event's body: JSON as it was written, the text of a string if
// the content type is not JSON, or bytes in base64.
func (f fields) data(e *event.Event) {
	raw, inline := f.Raw["data"]
	var text string
	switch {
	case f.Has("data_base64") && inline:
		f.Bad("want data or data_base64, not both", "data_base64")
	case f.Has("data_base64"):
		if err := json.Unmarshal(f.Raw["data_base64"], &text); err != nil {
			f.Bad("want a string", "data_base64")
			return
		}
		body, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			f.Bad("want padded standard base64", "data_base64")
		}
		e.Body = body
	case !inline:
	case e.ContentType == "" || isJSON(e.ContentType):
		if e.ContentType == "" {
			e.ContentType = defaultDataType
		}
		e.Body = bytes.TrimSpace(raw)
	default:
		if err := json.Unmarshal(raw, &text); err != nil || !f.Has("data") {
			f.Bad("want a string, because datacontenttype is not JSON; or data_base64", "data")
			return
		}
		e.Body = []byte(text)
	}
}

// isJSON reports whether a media type is JSON: its subtype is json or ends in +json.
func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	_, subtype, _ := strings.Cut(t, "/")
	return err == nil && (subtype == "json" || strings.HasSuffix(subtype, "+json"))
}

// parseBinary reads attributes from headers; the body is the data.
func parseBinary(header http.Header, body []byte, now time.Time) (*event.Event, error) {
	var errs []rest.FieldProblem
	a := attributes{
		values: make(map[string]string),
		bad: func(name, detail string) {
			where := "content-type"
			if name != "datacontenttype" {
				where = strings.ToLower(attributePrefix) + name
			}
			errs = append(errs, rest.FieldProblem{Header: where, Detail: detail})
		},
	}
	for name, values := range header {
		attribute, ok := strings.CutPrefix(name, attributePrefix)
		if !ok {
			continue
		}
		attribute = strings.ToLower(attribute)
		value, err := headerText(values[0])
		if err != nil || len(values) > 1 {
			a.bad(attribute, "want one value, percent-encoded")
			continue
		}
		a.values[attribute] = value
	}
	delete(a.values, "datacontenttype") // in binary mode that is Content-Type
	if t := header.Get("Content-Type"); t != "" {
		a.values["datacontenttype"] = t
	}
	e := a.event(now)
	e.Body = body
	if len(errs) > 0 {
		slices.SortStableFunc(errs, func(a, b rest.FieldProblem) int { return strings.Compare(a.Header, b.Header) })
		errs = slices.CompactFunc(errs, func(a, b rest.FieldProblem) bool { return a.Header == b.Header })
		return nil, rest.Invalid(errs...)
	}
	return e, nil
}

// headerText decodes an attribute's header value: percent-encoded, or quoted as
// older senders do (HTTP binding, section 3.1.3.2).
func headerText(value string) (string, error) {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
		var unquoted strings.Builder
		for i := 0; i < len(value); i++ {
			if value[i] == '\\' && i+1 < len(value) {
				i++
			}
			unquoted.WriteByte(value[i])
		}
		value = unquoted.String()
	}
	return url.PathUnescape(value)
}
