package receiver

import (
	"bytes"
	"context"
	"crypto"
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
