package receiver

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
)

// Sign signs the request as the provider does, with the first secret: it sets
// the headers of the signature and the timestamp, and that of the delivery id
// where there is none yet. The other headers that are signed must be set
// before. The body is not put into the request; where the provider writes the time
// into it, it must stand there. It fails if the secret cannot be read or is a
// public key, if a part of what is signed is missing, and where the signature
// itself stands in the body and is not there yet.
func (s *Source) Sign(r *http.Request, body []byte, now time.Time) error {
	sig, key, err := s.signing()
	if err != nil {
		return fmt.Errorf("sign as %s: %w", s.Name(), err)
	}
	if name := loneHeader(s.delivery); name != "" && r.Header.Get(name) == "" {
		r.Header.Set(name, event.NewID())
	}
	if text, err := s.secrets[0].Value(); err == nil {
		if name := sig.keyName(text); name != "" && loneHeader(choice{sig.keyID}) != "" {
			r.Header.Set(loneHeader(choice{sig.keyID}), name)
		}
	}
	s.listHeaders(r, sig.content)
	q := s.request(r, body)
	if s.signsJSON {
		s.findDocument(q)
	}
	sig.clear(r)
	if s.clock != nil {
		if err := s.stamp(q, now); err != nil {
			return fmt.Errorf("sign as %s: %w", s.Name(), err)
		}
	}
	if sig.inBody() && s.verifyItems(q, now) == nil {
		return nil
	}
	signature, err := s.signatureOf(sig, key, q, now)
	if err == nil {
		err = sig.put(r, signature)
	}
	if err != nil {
		return fmt.Errorf("sign as %s: %w", s.Name(), err)
	}
	return nil
}

// signatureOf is the signature of the request, as it is written.
func (s *Source) signatureOf(sig *signature, key []byte, q *request, now time.Time) (string, error) {
	if sig.token != nil {
		return s.signToken(sig, q, now)
	}
	if name, missing := sig.content.missing(q); missing && s.items == nil {
		return "", fmt.Errorf("no %s, which is part of what is signed", name)
	}
	sum, err := sig.algorithm.sign(key, sig.content, q)
	if err != nil {
		return "", err
	}
	return sig.encoding.encode(sum), nil
}

// signing is the first signature that the first secret is a key for.
func (s *Source) signing() (sig *signature, key []byte, err error) {
	if len(s.secrets) == 0 {
		return nil, nil, errNoSigner
	}
	for _, sig = range s.signatures {
		if sig.callback != nil {
			err = errAsked
			continue
		}
		if key, err = sig.secretKey(s.secrets[0]); !errors.Is(err, errOtherKey) {
			break
		}
	}
	return sig, key, err
}

// errAsked says that there is no signature to make.
var errAsked = errors.New("this provider signs nothing: it is asked whether a request is its own")

// stamp puts the time of sending into the request. A body has its own already.
func (s *Source) stamp(q *request, now time.Time) (err error) {
	if s.clock.inBody() {
		q.timestamp, _, err = s.clock.read(q)
		return err
	}
	q.timestamp = s.clock.unit.format(now)
	s.clock.clear(q.Request)
	return s.clock.put(q.Request, q.timestamp)
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
