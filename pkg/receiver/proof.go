package receiver

import (
	"encoding/json"
	"regexp"
	"strings"
)

// A proof is a compiled [Proof].
type proof struct {
	content   template
	algorithm algorithm
	encoding  encoding
	pattern   *regexp.Regexp // of the content; nil: any
}

// prove signs what the answer is to prove; not ok if the request has nothing
// that may be signed.
func (s *Source) prove(p *proof, q *request) (ok bool, err error) {
	text := p.content.text(q)
	if p.pattern != nil && !p.pattern.MatchString(text) {
		return false, nil
	}
	const harmless = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="
	field := strings.Contains(strings.TrimRight(text, "="), "=") // of a form, and not the end of base64
	if text == "" || len(text) > maxProven || strings.Trim(text, harmless) != "" || field || json.Valid([]byte(text)) {
		return false, nil
	}
	if len(s.secrets) == 0 {
		return false, refuse(SecretUnavailable, "the answer takes a secret, and there is none")
	}
	key, err := s.signatures[0].secretKey(s.secrets[0])
	if err != nil {
		return false, refuse(SecretUnavailable, "%v", err)
	}
	sum, err := p.algorithm.sign(key, p.content, q)
	if err != nil {
		return false, refuse(SecretUnavailable, "%v", err)
	}
	q.proof = p.encoding.encode(sum)
	return true, nil
}

func (c *compiler) proof(field string, f *Proof) (p *proof, err error) {
	if f == nil {
		return nil, nil
	}
	p = &proof{}
	if p.content, err = c.template(field+"content", f.Content); err != nil {
		return nil, err
	}
	if p.encoding, err = oneOf(c, field+"encoding", f.Encoding, encodings); err != nil {
		return nil, err
	}
	if p.algorithm, err = oneOf(c, field+"algorithm", f.Algorithm, algorithms); err != nil {
		return nil, err
	}
	if _, ok := p.algorithm.(hmacOf); !ok {
		return nil, c.blame(field+"algorithm", f.Algorithm, "one of the HMACs")
	}
	if f.Pattern == "" {
		return p, nil
	}
	if p.pattern, err = regexp.Compile("^(?:" + f.Pattern + ")$"); err != nil {
		return nil, c.blame(field+"pattern", f.Pattern, "a regular expression")
	}
	return p, nil
}
