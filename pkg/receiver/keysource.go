package receiver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"golang.org/x/time/rate"
)

const (
	// foundKeys bounds how many documents a second are fetched for one signature
	// where requests say which, and foundBurst at once: a sender has a few, and
	// changes them now and then.
	foundKeys, foundBurst = 1, 10
	// maxKeyID bounds in bytes the name of a key.
	maxKeyID = 128
)

// errForeignURL says that a request wants us to fetch from where we must not.
var errForeignURL = errors.New("the keys are not at a URL that the receiver's file allows")

// A keySource is a compiled [Keys].
type keySource struct {
	call    *call
	format  string
	read    keyFormat
	member  string
	names   []string
	reading string        // how it is read: what is read in another way is something else
	named   bool          // the call is for one key, by its name
	limiter *rate.Limiter // nil: the call is always the same
}

// find gets the keys from their server, or those that it gave before.
func (k *keySource) find(ctx context.Context, f *Fetcher, q *request, now time.Time, refresh bool) ([]publicKey, error) {
	out, ok := k.call.fill(q)
	if !ok || k.named && q.keyID == "" {
		return nil, errForeignURL
	}
	p := paper{key: out.key(k.reading), request: out, parse: func(text []byte, now time.Time) (any, time.Time, error) {
		return k.parse(f, text, now)
	}}
	if k.limiter != nil {
		p.allowed = func(now time.Time) bool { return k.limiter.AllowN(now, 1) }
	}
	if k.format == "oidc" {
		uri, err := f.get(ctx, p, now, false)
		if err != nil {
			return nil, err
		}
		out = outgoing{method: "GET", url: uri.(string)} //nolint:forcetypeassert // of parseDiscovery
		p = paper{key: out.key("jwks"), request: out, parse: parseJWKS}
	}
	keys, err := f.get(ctx, p, now, refresh)
	if err != nil {
		return nil, err
	}
	return keys.([]publicKey), nil //nolint:forcetypeassert // what parse makes
}

// parse reads what was fetched.
func (k *keySource) parse(f *Fetcher, text []byte, now time.Time) (any, time.Time, error) {
	if k.member != "" {
		found := gjson.GetBytes(text, k.member)
		if !gjson.ValidBytes(text) || !found.Exists() {
			return nil, time.Time{}, errNoKeys
		}
		text = []byte(found.Raw)
	}
	if k.format == "oidc" {
		return k.parseDiscovery(text)
	}
	keys, err := k.read(text)
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(k.names) > 0 {
		if err := chainTo(f.roots, text, k.names, now); err != nil {
			return nil, time.Time{}, err
		}
	}
	var end time.Time // of the first that ends
	for _, key := range keys {
		if !key.until.IsZero() && (end.IsZero() || key.until.Before(end)) {
			end = key.until
		}
	}
	return keys, end, nil
}

func parseJWKS(text []byte, _ time.Time) (any, time.Time, error) {
	keys, err := readJWKS(text)
	return keys, time.Time{}, err
}

// parseDiscovery reads where the keys of an OpenID provider are
// (https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata).
func (k *keySource) parseDiscovery(text []byte) (any, time.Time, error) {
	uri := gjson.GetBytes(text, "jwks_uri")
	if !gjson.ValidBytes(text) || !k.call.allowed.fit(uri.Str) {
		return nil, time.Time{}, fmt.Errorf("the discovery document has no jwks_uri that the receiver's file allows")
	}
	return uri.Str, time.Time{}, nil
}

// keysFor are the keys that a request may be signed with: the secrets, where
// they are keys in PEM, and else those that are fetched. With keys the error says
// that there may be others.
func (s *Source) keysFor(ctx context.Context, sig *signature, q *request, now time.Time, refresh bool) ([]publicKey, error) {
	keys, unreadable := s.pinned(q)
	if len(keys) == 0 && sig.keys != nil && (unreadable == nil || q.secret != "") {
		var err error
		keys, err = sig.keys.find(ctx, s.fetcher, q, now, refresh)
		if errors.Is(err, errForeignURL) {
			return nil, refuse(SignatureWrong, "%v", err)
		}
		if err != nil {
			return nil, refuse(KeysUnavailable, "%v", err)
		}
	}
	good := slices.DeleteFunc(slices.Clone(keys), func(k publicKey) bool { return !k.goodAt(now) })
	if len(good) == 0 && unreadable == nil {
		return nil, refuse(SignatureWrong, "the key is not good at this time")
	}
	return good, unreadable
}

// pinned are the keys that stand in the secrets. Of the others the first is for
// the call that gets keys.
func (s *Source) pinned(q *request) (keys []publicKey, unreadable error) {
	for _, secret := range s.secrets {
		text, err := secret.Value()
		if err != nil {
			unreadable = refuse(SecretUnavailable, "%v", err)
		} else if pinned, err := readPEM([]byte(text)); err == nil {
			keys = append(keys, pinned...)
		} else if q.secret == "" {
			q.secret = text
		}
	}
	return keys, unreadable
}

// replaced reports whether a key that does not fit may be one that the sender has
// replaced since: where nothing in the request tells which it is.
func (s *Source) replaced(sig *signature) bool {
	return sig.keys != nil && sig.keys.limiter == nil && len(s.secrets) == 0
}

// keySource compiles where keys come from; nil where the secrets are the keys.
func (c *compiler) keySource(field string, f *Keys) (*keySource, error) {
	if f == nil {
		return nil, nil
	}
	k := &keySource{format: c.expand(f.Format)}
	var err error
	if k.call, err = c.call(field, f.Call); err != nil {
		return nil, err
	}
	if k.read, err = oneOf(c, field+"format", f.Format, keyFormats); err != nil {
		return nil, err
	}
	if f.Member != "" {
		p, err := parsePlaceholder("json:" + f.Member)
		if err != nil {
			return nil, c.blame(field+"member", f.Member, err.Error())
		}
		k.member = p.arg
	}
	for _, name := range f.Names {
		k.names = append(k.names, strings.ToLower(c.expand(name)))
	}
	if len(k.names) > 0 && k.format != "pem" {
		return nil, &FieldError{Field: field + "names", Want: "names where the format is pem, and there only"}
	}
	k.reading = strings.Join(append([]string{k.format, k.member}, k.names...), " ")
	if slices.ContainsFunc(k.call.templates(), func(t choice) bool { return !t.constant() }) {
		k.limiter = rate.NewLimiter(foundKeys, foundBurst)
	}
	k.named = (choice{k.call.url, k.call.body}).uses(keyName)
	return k, nil
}
