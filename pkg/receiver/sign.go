package receiver

import (
	"fmt"
	"net/http"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
)

// Sign signs the request as the provider does, with the first secret: it sets
// the headers of the signature and the timestamp, and that of the delivery id
// where there is none yet. The other headers that are signed must be set
// before. The body is not put into the request. It fails if the secret cannot
// be read, or a part of what is signed is missing.
func (s *Source) Sign(r *http.Request, body []byte, now time.Time) error {
	sig := s.signatures[0]
	key, err := sig.secretKey(s.secrets[0])
	if err != nil {
		return fmt.Errorf("sign as %s: %w", s.Name(), err)
	}
	if name := loneHeader(s.delivery); name != "" && r.Header.Get(name) == "" {
		r.Header.Set(name, event.NewID())
	}
	q := &request{Request: r, body: body}
	r.Header.Del(sig.header)
	if s.clock != nil {
		q.timestamp = s.clock.unit.format(now)
		r.Header.Del(s.clock.header)
		s.clock.put(r.Header, q.timestamp)
	}
	if name, missing := sig.content.missing(q); missing {
		return fmt.Errorf("sign as %s: no %s, which is part of what is signed", s.Name(), name)
	}
	sig.put(r.Header, sig.encoding.encode(sig.sum(key, q)))
	return nil
}

// EventHeader is the name of the header in which the provider names the event,
// for who sends in its place; empty if the name stands in the body.
func (s *Source) EventHeader() string {
	for _, t := range s.event {
		if name := loneHeader(choice{t}); name != "" {
			return name
		}
	}
	return ""
}

// loneHeader is the header that is all of the first template; empty if the
// template is anything else.
func loneHeader(c choice) string {
	if len(c) > 0 && len(c[0]) == 1 && c[0][0].kind == header {
		return c[0][0].arg
	}
	return ""
}
