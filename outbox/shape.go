package outbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/webhook"
)

// fill sets the headers of an attempt at the time now, and returns its body: the
// event's data in the form that the subscription wants, signed.
func (s *Subscription) fill(header http.Header, d *delivery, data []byte, now time.Time) ([]byte, error) {
	contentType, body, err := s.shape(d, data)
	if err != nil {
		return nil, err
	}
	for name, value := range s.Headers {
		header.Set(name, value)
	}
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	if d.event.To != "" {
		return body, nil // who has given a URL of its own has no secret to verify with
	}
	// Who does not read the signature of Standard Webhooks can still tell a
	// repetition.
	header.Set(webhook.HeaderID, d.id)
	return body, s.sign(header, request{id: d.id, at: now, body: body})
}

// shape is the body in the form that the subscription wants.
func (s *Subscription) shape(d *delivery, data []byte) (contentType string, body []byte, err error) {
	switch s.Body {
	case BodyASPNet:
		body, err = aspNetBody(d, data, s.Properties)
		contentType = "application/json; charset=utf-8"
	case BodyCloudEvents:
		body, err = cloudEventsBody(d.event, data)
		contentType = "application/cloudevents+json"
	default:
		return d.event.ContentType, data, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("write the body as %s: %w", s.Body, err)
	}
	return contentType, body, nil
}

// aspNetBody is what ASP.NET WebHooks sends
// (https://github.com/aspnet/WebHooks/blob/master/src/Microsoft.AspNet.WebHooks.Custom/WebHooks/WebHookSender.cs).
// The properties of the data stand beside its Action; what is no object stands in Data.
func aspNetBody(d *delivery, data []byte, properties map[string]json.RawMessage) ([]byte, error) {
	notification := map[string]json.RawMessage{}
	text, base64 := jsonData(d.event, data)
	switch {
	case json.Unmarshal(text, &notification) == nil && notification != nil:
		maps.DeleteFunc(notification, func(name string, _ json.RawMessage) bool { return strings.EqualFold(name, "Action") })
	case base64:
		notification = map[string]json.RawMessage{"DataBase64": text}
	default:
		notification = map[string]json.RawMessage{"Data": text}
	}
	action, err := json.Marshal(d.event.Name())
	if err != nil {
		return nil, err
	}
	notification["Action"] = action
	return json.Marshal(struct {
		ID            string `json:"Id"`
		Attempt       int
		Properties    map[string]json.RawMessage `json:",omitempty"`
		Notifications []map[string]json.RawMessage
	}{d.id, d.attempt, properties, []map[string]json.RawMessage{notification}})
}

// cloudEventsBody is the event in the JSON format of CloudEvents
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md).
func cloudEventsBody(e *event.Event, data []byte) ([]byte, error) {
	out := struct {
		SpecVersion     string          `json:"specversion"`
		ID              string          `json:"id"`
		Source          string          `json:"source"`
		Type            string          `json:"type"`
		Time            time.Time       `json:"time,omitzero"`
		DataContentType string          `json:"datacontenttype,omitempty"`
		Data            json.RawMessage `json:"data,omitempty"`
		DataBase64      json.RawMessage `json:"data_base64,omitempty"`
	}{"1.0", e.ID, e.Source, e.Type, e.Time.UTC(), e.ContentType, nil, nil}
	if len(data) > 0 {
		text, base64 := jsonData(e, data)
		if base64 {
			out.DataBase64 = text
		} else {
			out.Data = text
		}
	}
	return json.Marshal(out)
}

// jsonData is the data of an event as a JSON text: as it is if it is JSON, as a
// string if it is text, and as a string of base64 otherwise.
func jsonData(e *event.Event, data []byte) (text json.RawMessage, base64 bool) {
	if len(data) == 0 {
		return json.RawMessage("null"), false
	}
	if mediaType, _, err := mime.ParseMediaType(e.ContentType); (err != nil || mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")) && json.Valid(data) {
		return data, false
	}
	var v any = data // base64
	base64 = !utf8.Valid(data)
	if !base64 {
		v = string(data)
	}
	text, _ = json.Marshal(v) // neither can fail
	return text, base64
}
