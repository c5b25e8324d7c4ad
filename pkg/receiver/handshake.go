package receiver

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// A handshake is a compiled [Handshake].
type handshake struct {
	method string
	signed bool
	tell   template
	unstored
}

// request is what templates are filled from.
func (s *Source) request(r *http.Request, body []byte) *request {
	return &request{Request: r, body: body, documents: s.document, source: s}
}

// shake answers a handshake; nil where the request is none. What cannot be an
// event either is refused.
func (s *Source) shake(q *request) (*Received, error) {
	if len(s.handshakes) == 0 {
		return nil, nil
	}
	events := slices.Contains(s.receiver.Methods, q.Method)
	known := false
	if s.readsJSON {
		s.findDocument(q)
	}
	for _, h := range s.handshakes {
		if h.method != q.Method || events && !h.signed && s.signed(q) {
			continue
		}
		known = true
		if !h.matches(q) {
			continue
		}
		if a, ok, err := s.fill(h.answer, q); err != nil || ok {
			return &Received{Answer: a, Tell: h.told(q)}, err
		}
	}
	if known && !events {
		return nil, refuse(HandshakeWrong, "not a handshake of %s, or not with the parameters of this source", s.receiver.Slug)
	}
	return nil, nil
}

// told is what the operator must learn. It is from a stranger, and goes into a log.
func (h handshake) told(q *request) string {
	const enough = 256
	told := h.tell.text(q)
	if len(told) > enough || strings.ContainsFunc(told, func(c rune) bool { return c < ' ' || c > '~' }) {
		return ""
	}
	return told
}

func (c *compiler) handshakes(forms []Handshake) ([]handshake, error) {
	var all []handshake
	for i, f := range forms {
		field := fmt.Sprintf("handshakes[%d].", i)
		h := handshake{method: f.Method, signed: f.Signed}
		switch h.method {
		case "":
			h.method = http.MethodPost
		case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost:
		default:
			return nil, &FieldError{Field: field + "method", Value: f.Method, Want: "GET, HEAD, OPTIONS or POST"}
		}
		if len(f.When) == 0 && slices.Contains(c.receiver.Methods, h.method) {
			return nil, &FieldError{Field: field + "when", Want: "a condition: events come by this method too"}
		}
		var err error
		if h.unstored, err = c.kind(field, f.When, f.Answer); err != nil {
			return nil, err
		}
		if h.tell, err = c.template(field+"tell", f.Tell); err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}
