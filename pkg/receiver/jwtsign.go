package receiver

import (
	"crypto"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/belay-hooks/belay/pkg/event"
)

// tokenLife is how long a token that we sign is good.
const tokenLife = 5 * time.Minute

// signToken makes the token of a request, as its issuer would.
func (s *Source) signToken(sig *signature, q *request, now time.Time) (string, error) {
	key, err := s.tokenSigner(sig)
	if err != nil {
		return "", err
	}
	claims, err := sig.token.claimsOf(q, now)
	if err != nil {
		return "", err
	}
	for _, algorithm := range sig.token.algorithms {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
		if err != nil {
			continue // the key is of another
		}
		if text, err := jwt.Signed(signer).Claims(claims).Serialize(); err == nil {
			return text, nil
		}
	}
	return "", fmt.Errorf("the secret is no key of the algorithms %v", sig.token.algorithms)
}

// tokenSigner is the key that the first secret is.
func (s *Source) tokenSigner(sig *signature) (any, error) {
	if len(s.secrets) == 0 {
		return nil, errNoSigner
	}
	if sig.token.shared {
		key, err := sig.secretKey(s.secrets[0])
		return padded(key), err
	}
	private, err := privateKey(s.secrets[0])
	if err != nil {
		return nil, err
	}
	return private, nil
}

// privateKey is the secret as a private key in PEM.
func privateKey(secret Secret) (crypto.Signer, error) {
	text, err := secret.Value()
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errNoSigner
	}
	_, private, err := parseKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	if private == nil {
		return nil, errPublicKey
	}
	return private, nil
}

// claimsOf are the claims of a token that is good for the request.
func (t *tokenRule) claimsOf(q *request, now time.Time) (map[string]any, error) {
	claims := map[string]any{
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(tokenLife).Unix(), "jti": event.NewID(),
	}
	if len(t.issuers) > 0 {
		claims["iss"] = t.issuers[0]
	}
	if len(t.audience) > 0 {
		claims["aud"] = t.audience.text(q)
	}
	for _, c := range t.claims {
		value := "x"
		if !c.any {
			value = c.want.text(q)
		}
		if len(c.path) > 1 {
			return nil, fmt.Errorf("the claim %s is inside another, and cannot be made up", strings.Join(c.path, "."))
		}
		if _, made := claims[c.path[0]]; !made || !c.any {
			claims[c.path[0]] = value
		}
	}
	for _, h := range t.hashes {
		if h.content.text(q) != "" {
			claims[h.claim] = h.encoding.encode(h.sum(q))
		}
	}
	return claims, nil
}
