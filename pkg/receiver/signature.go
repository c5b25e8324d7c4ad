package receiver

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	// maxCandidates bounds how many signatures of one header are tried. Providers
	// send one for each of their active secrets: two or three.
	maxCandidates = 16
	// maxSignatureHeader bounds in bytes the header that they stand in.
	maxSignatureHeader = 4096
)

// A signature is a compiled [Signature].
type signature struct {
	place
	encoding  encoding
	algorithm algorithm
	key       keyForm
	content   template
	bodyHash  string   // a parameter of the query; empty: none
	keyID     template // of the name of the key; empty: keys have no names
	when      []condition
	keys      *keySource // nil: the secrets are the keys
	token     *tokenRule // nil: it is no token
	callback  *callback  // nil: the provider is not asked

	field, text string // of the form: where it stands, and its content
}

// candidates appends the well-formed signatures of the request to list. The
// others are passed over: one that is broken must not spoil the good one beside it.
func (s *signature) candidates(list [][]byte, q *request) [][]byte {
	if s.bodyHash != "" && !s.hashesBody(q) {
		return list
	}
	count := 0
	for item := range s.items(q) {
		if count++; count > maxCandidates {
			break
		}
		decoded, err := s.encoding.decode(item)
		if err == nil && s.algorithm.fits(len(decoded)) {
			list = append(list, decoded)
		}
	}
	return list
}

// hashesBody reports whether the hash in the URL is that of the body.
func (s *signature) hashesBody(q *request) bool {
	want, err := hex.DecodeString(q.value(part{kind: queryParam, arg: s.bodyHash}))
	sum := sha256.Sum256(q.body)
	return err == nil && bytes.Equal(want, sum[:])
}

// errOtherKey says that a secret is no key for a signature. It may be one for
// another signature of the receiver.
var errOtherKey = errors.New("the secret is not written as this receiver's secrets are")

// errEmptySecret says that a secret is there and holds nothing. An empty key
// would be known to everybody.
var errEmptySecret = errors.New("the secret is empty")

// errOtherName says that a secret is that of another key than the request names.
var errOtherName = errors.New("the request names another key")

// secretKey reads a secret and decodes it to a key.
func (s *signature) secretKey(secret Secret) ([]byte, error) {
	text, err := secret.Value()
	if err != nil {
		return nil, err
	}
	return s.decodeKey(text)
}

// keyFor is the key of a secret, if that is the one that the request names.
func (s *signature) keyFor(secret Secret, q *request) ([]byte, error) {
	text, err := secret.Value()
	if err != nil {
		return nil, err
	}
	if name := s.keyName(text); name != "" && name != s.keyID.text(q) {
		return nil, errOtherName
	}
	return s.decodeKey(text)
}

// keyName is the name before the colon of a secret; empty if it has none.
func (s *signature) keyName(secret string) string {
	name, _, named := strings.Cut(secret, ":")
	if !named || len(s.keyID) == 0 {
		return ""
	}
	return name
}

// decodeKey decodes the text of a secret to a key. Its error quotes nothing of it.
func (s *signature) decodeKey(text string) ([]byte, error) {
	if name := s.keyName(text); name != "" {
		text = text[len(name)+1:]
	}
	key, err := s.key(text)
	if err != nil {
		return nil, errOtherKey
	}
	if len(key) == 0 {
		return nil, errEmptySecret
	}
	return key, nil
}

// isSecret reports whether the secret itself stands there, and no proof that the
// sender has it.
func (s *signature) isSecret() bool {
	_, shown := s.algorithm.(token)
	return shown && s.token == nil && s.callback == nil
}

// usable says what is wrong with the text of a secret.
func (s *signature) usable(text string) error {
	switch {
	case text == "":
		return errEmptySecret
	case s.callback != nil:
		return nil
	case s.keys != nil && s.needsSecret() && !isPEM(text):
		return nil // for the call that gets the keys
	case s.token != nil && !s.token.shared, s.keys != nil:
		_, err := readPEM([]byte(text))
		return err
	}
	key, err := s.decodeKey(text)
	if err != nil {
		return err
	}
	return s.algorithm.check(key)
}

func isPEM(text string) bool {
	block, _ := pem.Decode([]byte(text))
	return block != nil
}

// signature compiles the i-th signature of a form.
func (c *compiler) signature(i int, f Signature) (*signature, error) {
	field := fmt.Sprintf("signatures[%d].", i)
	s := &signature{bodyHash: f.BodyHash, field: field, text: f.Content}
	var err error
	if s.when, err = c.conditions(field+"when", f.When); err != nil {
		return nil, err
	}
	if f.Callback != nil {
		s.encoding, s.algorithm, s.key = encodings["text"], token{}, keyForms["raw"] // of a signature that is never there
		s.callback, err = c.callback(field+"callback.", f.Callback)
		return s, err
	}
	if s.place, err = c.place(field, f.Place); err != nil {
		return nil, err
	}
	if s.keyID, err = c.template(field+"key_id", f.KeyID); err != nil {
		return nil, err
	}
	if s.keys, err = c.keySource(field+"keys.", f.Keys); err != nil {
		return nil, err
	}
	if f.JWT != nil {
		f.Encoding, f.Algorithm = "text", "token"
	} else if f.Keys != nil && f.Secret == "" {
		f.Secret = "pem"
	}
	if f.Secret == "" {
		f.Secret = "raw"
	}
	if s.encoding, err = oneOf(c, field+"encoding", f.Encoding, encodings); err != nil {
		return nil, err
	}
	if s.algorithm, err = oneOf(c, field+"algorithm", f.Algorithm, algorithms); err != nil {
		return nil, err
	}
	if s.key, err = oneOf(c, field+"secret", f.Secret, keyForms); err != nil {
		return nil, err
	}
	if f.JWT != nil {
		s.token, err = c.tokenRule(field+"jwt.", f.JWT, f.Keys != nil)
		return s, err
	}
	return s, c.content(field, f, s)
}

// content compiles what is signed.
func (c *compiler) content(field string, f Signature, s *signature) (err error) {
	if s.content, err = c.template(field+"content", f.Content); err != nil {
		return err
	}
	_, signsNothing := s.algorithm.(token)
	_, symmetric := s.algorithm.(hmacOf)
	switch {
	case signsNothing && len(s.content) > 0:
		return c.blame(field+"content", f.Content, "no content: a token signs nothing")
	case !signsNothing && len(s.content) == 0:
		return c.blame(field+"content", f.Content, "a template of what is signed, such as {body}")
	case choice{s.content}.uses(proofText):
		return c.blame(field+"content", f.Content, "a template without {signature}, which is for answers")
	case f.BodyHash != "" && !(choice{s.content}).uses(address) && !(choice{s.content}).uses(otherPort):
		return c.blame(field+"content", f.Content, "a template with {url}, which the hash of the body stands in")
	case s.keys != nil && (signsNothing || symmetric):
		return c.blame(field+"algorithm", f.Algorithm, "an algorithm of public keys, where keys are fetched")
	}
	return nil
}

// templates are all that are filled from a request.
func (s *signature) templates() []choice {
	all := []choice{{s.content, {s.at}, s.keyID}}
	for _, w := range s.when {
		all = append(all, choice{w.template})
	}
	if s.keys != nil {
		all = append(all, s.keys.call.templates()...)
	}
	if s.callback != nil {
		all = append(all, s.callback.call.templates()...)
	}
	return append(all, s.token.templates()...)
}

// needsSecret reports whether nothing can be verified without a secret.
func (s *signature) needsSecret() bool {
	var calls []choice
	switch {
	case s.callback != nil:
		calls = s.callback.call.templates()
	case s.keys != nil:
		calls = s.keys.call.templates()
	default:
		return true
	}
	return slices.ContainsFunc(calls, func(c choice) bool { return c.uses(secretText) })
}
