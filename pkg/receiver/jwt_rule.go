package receiver

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// templates are all that are filled from a request.
func (t *tokenRule) templates() []choice {
	if t == nil {
		return nil
	}
	all := []choice{t.audience}
	for _, c := range t.claims {
		all = append(all, choice{c.want})
	}
	for _, h := range t.hashes {
		all = append(all, choice{h.content})
	}
	return all
}

// tokenRule compiles what a token must be; keys says whether public keys are
// fetched for it.
func (c *compiler) tokenRule(field string, f *JWT, keys bool) (*tokenRule, error) {
	t := &tokenRule{tolerance: f.Tolerance, maxAge: f.MaxAge, endless: f.Endless}
	for i, text := range f.Algorithms {
		a := jose.SignatureAlgorithm(c.expand(text))
		shared := slices.Contains(sharedAlgorithms, a)
		at := fmt.Sprintf("%salgorithms[%d]", field, i)
		switch {
		case !shared && !slices.Contains(publicAlgorithms, a):
			return nil, c.blame(at, text, fmt.Sprintf("one of %v and %v", publicAlgorithms, sharedAlgorithms))
		case i > 0 && shared != t.shared, shared && keys:
			return nil, c.blame(at, text, "algorithms of shared secrets alone, and without keys: a public key must never be taken for a secret")
		}
		t.shared = shared
		t.algorithms = append(t.algorithms, a)
	}
	if len(t.algorithms) == 0 {
		return nil, &FieldError{Field: field + "algorithms", Want: "at least one: the token does not choose"}
	}
	for i, text := range f.Issuers {
		issuer := c.expand(text)
		if issuer == "" {
			return nil, c.blame(fmt.Sprintf("%sissuers[%d]", field, i), text, "an issuer: an empty one would be any")
		}
		t.issuers = append(t.issuers, issuer)
	}
	var err error
	if t.audience, err = c.choice(field+"audience", f.Audience); err != nil {
		return nil, err
	}
	if len(t.audience) < len(f.Audience) {
		return nil, c.blame(field+"audience", strings.Join(f.Audience, " "), "an audience: an empty one would be any")
	}
	if t.claims, err = c.claims(field, f.Claims); err != nil {
		return nil, err
	}
	for i, h := range f.Hashes {
		rule, err := c.hashRule(fmt.Sprintf("%shashes[%d].", field, i), h)
		if err != nil {
			return nil, err
		}
		t.hashes = append(t.hashes, rule)
	}
	return t, nil
}

func (c *compiler) claims(field string, f map[string]string) ([]claimRule, error) {
	var all []claimRule
	for _, name := range slices.Sorted(maps.Keys(f)) {
		rule := claimRule{path: strings.Split(name, ".")}
		if rule.any = f[name] == "*"; !rule.any {
			var err error
			if rule.want, err = c.template(field+"claims."+name, f[name]); err != nil {
				return nil, err
			}
			if len(rule.want) == 0 {
				continue // a parameter that is left empty
			}
		}
		all = append(all, rule)
	}
	return all, nil
}

func (c *compiler) hashRule(field string, f ClaimedHash) (h hashRule, err error) {
	h.claim = f.Claim
	if h.claim == "" {
		return h, &FieldError{Field: field + "claim", Want: "the name of a claim"}
	}
	if h.content, err = c.template(field+"content", f.Content); err != nil {
		return h, err
	}
	if len(h.content) == 0 {
		return h, &FieldError{Field: field + "content", Want: "a template of what is hashed, such as {body}"}
	}
	if h.hash, err = oneOf(c, field+"hash", f.Hash, tokenHashes); err != nil {
		return h, err
	}
	if f.Encoding == "" {
		f.Encoding = "hex"
	}
	h.encoding, err = oneOf(c, field+"encoding", f.Encoding, encodings)
	return h, err
}
