package receiver

import (
	"bytes"
	"context"
	"crypto"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// A tokenRule is a compiled [JWT]: what a token must be and say.
type tokenRule struct {
	algorithms []jose.SignatureAlgorithm
	shared     bool // the secrets are keys of HMACs
	issuers    []string
	audience   choice
	claims     []claimRule
	hashes     []hashRule
	tolerance  time.Duration
	maxAge     time.Duration
	endless    bool
}

// A claimRule is what a claim must be.
type claimRule struct {
	path []string
	want template
	any  bool // that is not empty
}

// A hashRule is a compiled [ClaimedHash].
type hashRule struct {
	claim    string
	content  template
	hash     crypto.Hash
	encoding encoding
}

var tokenHashes = map[string]crypto.Hash{
	"":       crypto.SHA256,
	"sha1":   crypto.SHA1,
	"sha256": crypto.SHA256,
	"sha384": crypto.SHA384,
	"sha512": crypto.SHA512,
}

var (
	sharedAlgorithms = []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512}
	publicAlgorithms = []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
)

// tryTokens judges the tokens of a request. One that holds is enough.
func (s *Source) tryTokens(ctx context.Context, sig *signature, q *request, now time.Time) (weight, error) {
	best, refusal := absent, refuse(SignatureWrong, "no token in %s", sig.place)
	count := 0
	for text := range sig.items(q) {
		if count++; count > maxCandidates {
			break
		}
		w, err := s.tryToken(ctx, sig, text, q, now)
		if w == proven {
			return proven, nil
		}
		if w > best {
			best, refusal = w, err
		}
	}
	return best, refusal
}

func (s *Source) tryToken(ctx context.Context, sig *signature, text string, q *request, now time.Time) (weight, error) {
	token, err := jwt.ParseSigned(text, sig.token.algorithms)
	if err != nil || len(token.Headers) != 1 {
		// What the parser says would quote the token.
		return wrong, refuse(SignatureWrong, "what stands in %s is no token with one of the algorithms %v", sig.place, sig.token.algorithms)
	}
	id := token.Headers[0].KeyID
	for _, refresh := range []bool{false, true} {
		keys, err := s.tokenKeys(ctx, sig, id, q, now, refresh)
		for _, key := range keys {
			var (
				known jwt.Claims
				all   map[string]any
			)
			if token.Claims(key, &known, &all) != nil {
				continue
			}
			if err := sig.token.check(known, all, q, now); err != nil {
				return wrong, err
			}
			return proven, nil
		}
		if err != nil {
			return weigh(err), err
		}
		if id != "" || !s.replaced(sig) {
			break
		}
	}
	return wrong, refuse(SignatureWrong, "the token is not signed with a known key")
}

// tokenKeys are the keys that a token may be signed with. A name that is not
// known makes the set be fetched again, if it is not very new. With keys the error
// says that there may be others.
func (s *Source) tokenKeys(ctx context.Context, sig *signature, id string, q *request, now time.Time, refresh bool) ([]any, error) {
	if sig.token.shared {
		return s.sharedKeys(sig)
	}
	if len(id) > maxKeyID {
		return nil, refuse(SignatureWrong, "the name of the token's key is longer than %d bytes", maxKeyID)
	}
	if sig.keys != nil && sig.keys.named {
		q.keyID = id
	}
	for _, again := range []bool{refresh, true} {
		keys, err := s.keysFor(ctx, sig, q, now, again)
		var named []any
		for _, k := range keys {
			if k.id == id || k.id == "" || id == "" {
				named = append(named, k.key)
			}
		}
		if len(named) > 0 || err != nil {
			return named, err
		}
	}
	return nil, refuse(SignatureWrong, "the token names a key that its issuer does not have")
}

func (s *Source) sharedKeys(sig *signature) (keys []any, unreadable error) {
	for _, secret := range s.secrets {
		key, err := sig.secretKey(secret)
		if err != nil {
			unreadable = refuse(SecretUnavailable, "%v", err)
			continue
		}
		keys = append(keys, padded(key))
	}
	return keys, unreadable
}

// padded makes a key of an HMAC long enough for the library, which wants as many
// bytes as the hash has. It is the provider that chooses its secrets, and an HMAC
// fills a key up with zeros itself (https://www.rfc-editor.org/rfc/rfc2104#section-2).
func padded(key []byte) []byte {
	const block = 64 // of SHA-256, the shortest block; as many bytes as SHA-512 has
	if len(key) >= block {
		return key
	}
	return append(bytes.Clone(key), make([]byte, block-len(key))...)
}

// check judges what a genuine token says. The refusals do not quote it.
func (t *tokenRule) check(known jwt.Claims, all map[string]any, q *request, now time.Time) error {
	if err := t.checkTime(known, now); err != nil {
		return err
	}
	if len(t.issuers) > 0 && !slices.Contains(t.issuers, known.Issuer) {
		return refuse(ClaimWrong, "the token is not of an issuer of this source")
	}
	if len(t.audience) > 0 {
		fits := slices.ContainsFunc(t.audience, func(a template) bool {
			want := a.text(q)
			return want != "" && known.Audience.Contains(want)
		})
		if !fits {
			return refuse(ClaimWrong, "the token is for another audience")
		}
	}
	for _, c := range t.claims {
		got := claim(all, c.path)
		if got == "" || !c.any && subtle.ConstantTimeCompare([]byte(got), []byte(c.want.text(q))) != 1 {
			return refuse(ClaimWrong, "the claim %s is not what it must be", strings.Join(c.path, "."))
		}
	}
	for _, h := range t.hashes {
		if !h.holds(all, q) {
			return refuse(ClaimWrong, "the claim %s is not the hash of this request", h.claim)
		}
	}
	return nil
}

// checkTime judges when the token is good.
func (t *tokenRule) checkTime(known jwt.Claims, now time.Time) error {
	switch err := known.ValidateWithLeeway(jwt.Expected{Time: now}, t.tolerance); {
	case errors.Is(err, jwt.ErrExpired):
		return refuse(TimestampStale, "the token ended %s ago", now.Sub(known.Expiry.Time()).Round(time.Second))
	case err != nil:
		return refuse(TimestampFuture, "the token is not good yet")
	}
	if t.maxAge > 0 {
		if known.IssuedAt == nil {
			return refuse(TimestampMissing, "the token has no iat")
		}
		if age := now.Sub(known.IssuedAt.Time()); age > t.maxAge {
			return refuse(TimestampStale, "the token is %s old; %s is the most", age.Round(time.Second), t.maxAge)
		}
	} else if known.Expiry == nil && !t.endless {
		return refuse(TimestampMissing, "the token has no exp")
	}
	return nil
}

// claim is the text of a claim; empty where it is none, or no scalar.
func claim(all map[string]any, path []string) string {
	var at any = all
	for _, key := range path {
		object, ok := at.(map[string]any)
		if !ok {
			return ""
		}
		at = object[key]
	}
	switch v := at.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// holds reports whether the claim is the hash of the content. Where there is
// nothing to hash there need not be a claim.
func (h hashRule) holds(all map[string]any, q *request) bool {
	stated, there := all[h.claim]
	if !there {
		return len(h.content.text(q)) == 0
	}
	text, _ := stated.(string)
	want, err := h.encoding.decode(text)
	return err == nil && subtle.ConstantTimeCompare(want, h.sum(q)) == 1
}

func (h hashRule) sum(q *request) []byte {
	sum := h.hash.New()
	h.content.feed(sum, q)
	return sum.Sum(nil)
}

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
