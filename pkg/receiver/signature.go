package receiver

import (
	"crypto/hmac"
	"crypto/subtle"
	"errors"
	"fmt"
	"iter"
	"net/http"
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
}

// A place is a compiled [Place].
type place struct {
	header, separator, prefix string
}

// items yields what stands in the header after the prefix.
func (p place) items(h http.Header) iter.Seq[string] {
	return func(yield func(string) bool) {
		values := h[p.header]
		if len(values) == 0 || len(values[0]) > maxSignatureHeader {
			return
		}
		if p.separator == "" {
			if item, ok := strings.CutPrefix(values[0], p.prefix); ok {
				yield(item)
			}
			return
		}
		for item := range strings.SplitSeq(values[0], p.separator) {
			// Some senders join a list with both a comma and a blank.
			item, ok := strings.CutPrefix(strings.Trim(item, " \t,"), p.prefix)
			if ok && !yield(item) {
				return
			}
		}
	}
}

// first is the first value in the header that is not empty.
func (p place) first(h http.Header) string {
	for item := range p.items(h) {
		if item != "" {
			return item
		}
	}
	return ""
}

// put adds a value to the header.
func (p place) put(h http.Header, value string) {
	item := p.prefix + value
	if there := h.Get(p.header); there != "" && p.separator != "" {
		item = there + p.separator + item
	}
	h.Set(p.header, item)
}

// candidates appends the well-formed signatures of the request to buf, each as
// long as the algorithm's sum. The others are passed over: one that is broken
// must not spoil the good one beside it.
func (s *signature) candidates(buf []byte, h http.Header) []byte {
	size, count := s.algorithm().Size(), 0
	for item := range s.items(h) {
		if count++; count > maxCandidates {
			break
		}
		decoded, err := s.encoding.decode(item)
		if err == nil && len(decoded) == size {
			buf = append(buf, decoded...)
		}
	}
	return buf
}

// sum is the signature of the request under the key.
func (s *signature) sum(key []byte, q *request) []byte {
	mac := hmac.New(s.algorithm, key)
	s.content.feed(mac, q)
	return mac.Sum(nil)
}

// match reports whether one of the candidates is the sum. The time it takes
// does not tell which, nor how much of one was right.
func match(candidates, sum []byte) bool {
	found := 0
	for ; len(candidates) >= len(sum); candidates = candidates[len(sum):] {
		found |= subtle.ConstantTimeCompare(candidates[:len(sum)], sum)
	}
	return found == 1
}

// errEmptySecret says that a secret is there and holds nothing. An empty key
// would be known to everybody.
var errEmptySecret = errors.New("the secret is empty")

// secretKey reads a secret and decodes it to a key.
func (s *signature) secretKey(secret Secret) ([]byte, error) {
	text, err := secret.Value()
	if err != nil {
		return nil, err
	}
	return s.decodeKey(text)
}

// decodeKey decodes the text of a secret to a key. Its error quotes nothing of it.
func (s *signature) decodeKey(text string) ([]byte, error) {
	key, err := s.key(text)
	if err != nil {
		return nil, errors.New("the secret is not written as this receiver's secrets are")
	}
	if len(key) == 0 {
		return nil, errEmptySecret
	}
	return key, nil
}

// signature compiles the i-th signature of a form.
func (c *compiler) signature(i int, f Signature) (*signature, error) {
	field := fmt.Sprintf("signatures[%d].", i)
	at, err := c.place(field, f.Place)
	if err != nil {
		return nil, err
	}
	s := &signature{place: at}
	if s.encoding, err = oneOf(c, field+"encoding", f.Encoding, encodings); err != nil {
		return nil, err
	}
	if s.algorithm, err = oneOf(c, field+"algorithm", f.Algorithm, algorithms); err != nil {
		return nil, err
	}
	if f.Secret == "" {
		f.Secret = "raw"
	}
	if s.key, err = oneOf(c, field+"secret", f.Secret, keyForms); err != nil {
		return nil, err
	}
	if s.content, err = c.template(field+"content", f.Content); err != nil {
		return nil, err
	}
	if len(s.content) == 0 {
		return nil, c.blame(field+"content", f.Content, "a template of what is signed, such as {body}")
	}
	return s, nil
}
