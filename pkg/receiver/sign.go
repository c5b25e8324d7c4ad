package receiver

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
)

// Sign signs the request as the provider does, with the first secret, and returns
// the body to send: the given one, or where the signature stands in the body one
// with it. It sets the headers of the signature and the timestamp, and that of the
// delivery id where there is none yet. The other headers that are signed must be
// set before; where the provider writes the time into the body, it must stand there.
// Nothing is put into the Body of the request. It fails if the secret cannot be
// read or is a public key, if a part of what is signed is missing, and where the
// signature stands in XML or a multipart form and is not there yet.
func (s *Source) Sign(r *http.Request, body []byte, now time.Time) ([]byte, error) {
	q, err := s.sign(r, body, now)
	if err != nil {
		return nil, fmt.Errorf("sign as %s: %w", s.Name(), err)
	}
	return q.body, nil
}

// sign is the signed request.
func (s *Source) sign(r *http.Request, body []byte, now time.Time) (*request, error) {
	sig, key, err := s.signing()
	if err != nil {
		return nil, err
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
			return nil, err
		}
	}
	if sig.inBody() && s.signed(q) && s.verifyItems(q, now) == nil {
		return q, nil
	}
	if s.items != nil {
		return s.signItems(sig, key, q, now)
	}
	signature, err := s.signatureOf(sig, key, q, now)
	if err != nil {
		return nil, err
	}
	return s.put(q, sig.place, signature)
}

// signatureOf is the signature of the request, as it is written.
func (s *Source) signatureOf(sig *signature, key []byte, q *request, now time.Time) (string, error) {
	if sig.token != nil {
		return s.signToken(sig, q, now)
	}
	if name, missing := sig.content.missing(q); missing {
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
	s.clock.put(q.Request, q.timestamp)
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
