package receiver

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
)

// maxName bounds in bytes the id, the name and the key of an event. They come
// from the sender, and travel in the headers of a message. A longer id or key is
// told by its hash.
const maxName = 1024

// Received is an accepted request.
type Received struct {
	// Event is what came in. It is nil for a ping or a handshake, which is
	// answered and not stored.
	Event *event.Event
	// Answer is what the provider wants to hear (for an event: once it is stored).
	Answer Answer
	// Tell is what the operator must learn of a handshake ([Handshake].Tell); empty
	// for nearly all.
	Tell string
}

// Receive is the one door in: it verifies the request, whose body was read
// before, and names the event that it is. Method and content type are the
// caller's to check. The event shares the body's bytes and the request's header
// values. The error is a [*Refusal].
func (s *Source) Receive(r *http.Request, body []byte, now time.Time) (Received, error) {
	q := s.request(r, body)
	received, err := s.receive(q, now)
	if err != nil {
		return Received{}, s.refuse(err, q)
	}
	return received, nil
}

func (s *Source) receive(q *request, now time.Time) (Received, error) {
	shaken, err := s.shake(q)
	if err != nil {
		return Received{}, err
	}
	if shaken != nil {
		return *shaken, nil
	}
	if err := s.verify(q, now); err != nil {
		return Received{}, err
	}
	if err := s.readDocument(q); err != nil {
		return Received{}, err
	}
	for _, u := range s.unstored {
		if !u.matches(q) {
			continue
		}
		if u.call != nil {
			if err := s.confirm(u.call, q); err != nil {
				return Received{}, err
			}
		}
		return s.answered(u.answer, q)
	}
	e, err := s.newEvent(q, now)
	if err != nil {
		return Received{}, err
	}
	received, err := s.answered(s.answer, q)
	received.Event = e
	return received, err
}

// verify proves that the holder of a secret sent the request, and sent it now.
func (s *Source) verify(q *request, now time.Time) error {
	for _, name := range s.single {
		if len(q.Header[name]) > 1 {
			return refuse(HeaderRepeated, "the header %s stands there %d times", name, len(q.Header[name]))
		}
	}
	if s.signsJSON {
		s.findDocument(q)
	}
	if !s.signed(q) && !slices.ContainsFunc(s.signatures, func(sig *signature) bool { return sig.callback != nil }) {
		return refuse(SignatureMissing, "nothing in %s", s.signatures[0].place)
	}
	var sent time.Time
	if s.clock != nil {
		var err error
		if q.timestamp, sent, err = s.clock.read(q); err != nil {
			return err
		}
	}
	if err := s.verifyItems(q, now); err != nil {
		return err
	}
	if s.clock != nil {
		return s.clock.check(sent, now)
	}
	return nil
}

// verifyItems verifies each item on its own, where items are signed.
func (s *Source) verifyItems(q *request, now time.Time) error {
	if s.items == nil {
		return s.verifySignatures(q, now)
	}
	for _, item := range q.document.items(*s.items) {
		one := &request{Request: q.Request, body: q.body, documents: s.document, source: s, document: item}
		if err := s.verifySignatures(one, now); err != nil {
			return err
		}
	}
	return nil
}

// signed reports whether there is anything that could be a signature.
func (s *Source) signed(q *request) bool {
	if s.items != nil {
		return len(q.document.items(*s.items)) > 0
	}
	for _, sig := range s.signatures {
		if sig.callback == nil && q.value(sig.at) != "" {
			return true
		}
	}
	return false
}

// readDocument finds the JSON that templates look into. What calls itself JSON
// must be JSON, and so must the field of a form that a receiver's document is in.
// Other content has no document. Without a content type it is JSON from a
// receiver that says what it sends.
func (s *Source) readDocument(q *request) error {
	media := mediaType(q.Header.Get("Content-Type"))
	if s.elements != nil && (isXML(media) || s.document.uses(formField)) && q.xml() == nil {
		return refuse(Unreadable, "the body holds no valid XML document")
	}
	if !s.readsJSON {
		return nil
	}
	if s.findDocument(q) {
		return nil
	}
	text := s.document.bytes(q)
	unnamed := media == "" && len(s.receiver.ContentTypes) > 0
	inForm := s.document.uses(formField) && (len(text) > 0 || s.document.uses(body))
	if isJSON(media) || unnamed || inForm {
		return refuse(Unreadable, "the body holds no valid JSON document")
	}
	return nil
}

// findDocument reports whether the request holds a JSON document.
func (s *Source) findDocument(q *request) bool {
	if q.document == nil {
		q.document = readDocument(s.documentText(q), s.members, s.signsValues)
	}
	return q.document != nil
}

// documentText is the text of the document, decoded.
func (s *Source) documentText(q *request) []byte {
	text := s.document.bytes(q)
	if s.encoded {
		decoded, err := base64.StdEncoding.AppendDecode(nil, text) // which passes over new lines
		if err != nil {
			return nil
		}
		return decoded
	}
	// .NET writes a byte order mark before its JSON.
	return bytes.TrimPrefix(text, []byte("\ufeff"))
}

// newEvent names the event that a genuine request is.
func (s *Source) newEvent(q *request, now time.Time) (*event.Event, error) {
	id, name, key := s.delivery.text(q), s.event.text(q), s.key.text(q)
	if len(name) > maxName {
		return nil, refuse(Unreadable, "the name of the event is longer than %d bytes", maxName)
	}
	for _, v := range []*string{&id, &key} {
		if len(*v) > maxName {
			*v = hashed(*v)
		}
	}
	if id == "" {
		id = event.NewID()
	}
	e := &event.Event{
		ID:          id,
		Source:      s.uri,
		Type:        event.TypeOf(s.receiver.Slug, name),
		Time:        now,
		ContentType: q.Header.Get("Content-Type"),
		Traceparent: traceparent(q.Header),
		Receiver:    s.receiver.Slug,
		SourceID:    s.id,
		Key:         key,
		Body:        q.body,
	}
	e.Keep(q.Header, s.keep...)
	return e, nil
}

// traceparent is the trace that the sender is in; empty if what it says is not
// well-formed (https://www.w3.org/TR/trace-context/#traceparent-header).
func traceparent(h http.Header) string {
	const example = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	value := h.Get("Traceparent")
	if len(value) != len(example) || strings.Trim(value, "0123456789abcdef-") != "" ||
		value[2] != '-' || value[35] != '-' || value[52] != '-' {
		return ""
	}
	return value
}
