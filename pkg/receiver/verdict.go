package receiver

import (
	"context"
	"crypto/x509"
	"errors"
	"time"
)

// A weight is how much what came of one signature says about the request. Of
// several the greatest counts.
type weight int

const (
	absent      weight = iota // nothing that could be this signature
	lacking                   // a part of what is signed is not there
	wrong                     // it was tried
	unavailable               // it could not be tried now
	proven
)

// weigh is the weight of a refusal.
func weigh(err error) weight {
	refusal, ok := errors.AsType[*Refusal](err)
	switch {
	case !ok:
		return unavailable
	case refusal.Reason == SecretUnavailable, refusal.Reason == KeysUnavailable, refusal.Reason == ProviderUnavailable:
		return unavailable
	}
	return wrong
}

// verifySignatures tries every signature of the request with every secret, also
// after one fitted: the time it takes does not tell which did.
func (s *Source) verifySignatures(q *request, now time.Time) error {
	best, refusal := absent, error(nil)
	for _, sig := range s.signatures {
		w, err := s.try(sig, q, now)
		if w > best {
			best, refusal = w, err
		}
	}
	switch best {
	case proven:
		return nil
	case absent:
		return refuse(SignatureWrong, "no well-formed signature in %s", s.signatures[0].place)
	}
	return refusal
}

// try says what one signature proves.
func (s *Source) try(sig *signature, q *request, now time.Time) (weight, error) {
	if !holdAll(sig.when, q) {
		return absent, nil
	}
	if sig.keys == nil && sig.callback == nil && sig.token == nil {
		return s.trySecrets(sig, q)
	}
	ctx, cancel := s.outside(q)
	defer cancel()
	switch {
	case sig.callback != nil:
		return s.tryCallback(ctx, sig, q)
	case sig.token != nil:
		return s.tryTokens(ctx, sig, q, now)
	}
	return s.tryKeys(ctx, sig, q, now)
}

// trySecrets tries the secrets as keys.
func (s *Source) trySecrets(sig *signature, q *request) (weight, error) {
	candidates, name := sig.ready(q)
	if name != "" {
		return lacking, refuse(SignedMissing, "no %s, which is part of what is signed", name)
	}
	if len(candidates) == 0 {
		return absent, nil
	}
	best, refusal := absent, error(nil)
	for _, secret := range s.secrets {
		key, err := sig.keyFor(secret, q)
		switch {
		case errors.Is(err, errOtherName):
		case err == nil && sig.algorithm.match(key, candidates, sig.content, q):
			best = proven
		case err == nil && best < wrong:
			best, refusal = wrong, refuse(SignatureWrong, "no signature is that of a configured secret")
		case err != nil && best < unavailable && (len(s.signatures) == 1 || !errors.Is(err, errOtherKey)):
			best, refusal = unavailable, refuse(SecretUnavailable, "%v", err)
		}
	}
	return best, refusal
}

// tryKeys tries the public keys of the sender.
func (s *Source) tryKeys(ctx context.Context, sig *signature, q *request, now time.Time) (weight, error) {
	candidates, name := sig.ready(q)
	if name != "" {
		return lacking, refuse(SignedMissing, "no %s, which is part of what is signed", name)
	}
	if len(candidates) == 0 {
		return absent, nil
	}
	for _, refresh := range []bool{false, true} {
		keys, err := s.keysFor(ctx, sig, q, now, refresh)
		for _, key := range keys {
			der, err := x509.MarshalPKIXPublicKey(key.key)
			if err == nil && sig.algorithm.match(der, candidates, sig.content, q) {
				return proven, nil
			}
		}
		if err != nil {
			return weigh(err), err
		}
		if !s.replaced(sig) {
			break
		}
	}
	return wrong, refuse(SignatureWrong, "no signature is of a key of the sender")
}

// ready is what could be this signature in the request, or what is missing of
// that which it signs.
func (s *signature) ready(q *request) (candidates [][]byte, lacking string) {
	candidates = s.candidates(nil, q)
	if len(candidates) == 0 {
		return nil, ""
	}
	if name, missing := s.content.missing(q); missing {
		return nil, name // another signature may do without
	}
	return candidates, ""
}
