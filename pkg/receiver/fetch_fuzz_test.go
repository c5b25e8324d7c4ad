package receiver

import (
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/belay-hooks/belay/internal/testprovider"
)

// No token that somebody makes up is accepted, and what is refused is not told.
func FuzzJWT(f *testing.F) {
	key := rsaKey().(*rsa.PrivateKey)
	genuine := tokenOf(f, jose.RS256, key, "", forPubSub())
	f.Add(genuine)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("eyJhbGciOiJSUzI1NiIsImNyaXQiOlsiYjY0Il0sImI2NCI6ZmFsc2V9.e30.AAAA")
	f.Add("....")
	f.Add(`{"payload":"e30","signatures":[]}`)
	s := newSource(f, SourceConfig{
		Receiver: "google-pubsub", Secrets: []Secret{text(publicPEM(f, key.Public()))},
		Params: map[string]string{"email": "push@p.iam.gserviceaccount.com", "audience": "x"},
	})
	shared := newSource(f, SourceConfig{Receiver: "netlify", Secrets: []Secret{text("s")}})
	f.Fuzz(func(t *testing.T, token string) {
		for _, one := range []*Source{s, shared} {
			r := newRequest("application/json", nil)
			r.Header.Set(one.signatures[0].at.arg, one.signatures[0].prefix+token)
			_, err := one.Receive(r, someBody, now)
			refusal, ok := errors.AsType[*Refusal](err)
			if !ok {
				t.Fatalf("%s accepts %q: %v", one.Name(), token, err)
			}
			if len(token) > 30 && strings.Contains(refusal.Detail, token) {
				t.Errorf("the detail quotes the token: %s", refusal.Detail)
			}
		}
	})
}

// What the owner of a genuine key claims is judged without a panic, and never
// accepted without what must be there.
func FuzzClaims(f *testing.F) {
	key := newKey(f)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		f.Fatal(err)
	}
	r, err := New("claims", Form{Signatures: []Signature{{Place: Place{Header: "Authorization"}, JWT: &JWT{
		Algorithms: []string{"ES256"}, Issuers: []string{"i"}, Audience: Templates{"a"}, Claims: map[string]string{"a.b": "c"},
	}}}})
	if err != nil {
		f.Fatal(err)
	}
	s := sourceFor(f, r, SourceConfig{Secrets: []Secret{text(publicPEM(f, key.Public()))}})
	f.Add([]byte(`{"iss":"i","aud":["a"],"exp":1e10,"a":{"b":"c"}}`))
	f.Add([]byte(`{"iss":["i"],"aud":1,"exp":-1e400,"a":[]}`))
	f.Add([]byte(`{"exp":1e308,"iat":"x","nbf":null,"a":{"b":{}}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		signed, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		text, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		r := newRequest("application/json", nil)
		r.Header.Set("Authorization", text)
		if _, err := s.Receive(r, someBody, now); err != nil {
			return
		}
		var claims struct {
			Issuer string          `json:"iss"`
			Aud    json.RawMessage `json:"aud"`
			Exp    float64         `json:"exp"`
		}
		if json.Unmarshal(payload, &claims) != nil || claims.Issuer != "i" || !strings.Contains(string(claims.Aud), `"a"`) || claims.Exp < float64(now.Unix()) {
			t.Errorf("accepted %s", payload)
		}
	})
}

// What a server publishes as keys are keys that can be trusted, or none.
func FuzzPublicKeys(f *testing.F) {
	key := rsaKey().(*rsa.PrivateKey)
	f.Add(jwks(f, map[string]crypto.PublicKey{"a": key.Public(), "b": newKey(f).Public()}))
	f.Add([]byte(publicPEM(f, key.Public())))
	p := testprovider.New(f)
	der, err := p.Certify("a.example.com", key.Public())
	if err != nil {
		f.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	f.Add(cert)
	object, err := json.Marshal(map[string]string{"a": string(cert)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(object)
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		for format, read := range keyFormats {
			if read == nil {
				continue
			}
			keys, err := read(content)
			if err != nil {
				continue
			}
			for _, k := range keys {
				if _, err := trusted(k.key); err != nil {
					t.Errorf("%s reads a key %T", format, k.key)
				}
				k.goodAt(now)
			}
			_ = chainTo(p.Roots, content, []string{"a.example.com"}, now)
		}
	})
}

// Whatever fits a pattern is an https URL of its host, as the client will see it.
func FuzzURLPattern(f *testing.F) {
	f.Add("https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem")
	f.Add("https://sns.us-east-1.amazonaws.com@evil.com/SimpleNotificationService-1.pem")
	f.Add("https://evil.com/#sns.us-east-1.amazonaws.com/")
	pattern, err := parseURLPattern("https://sns.*.amazonaws.com/SimpleNotificationService-*.pem")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := parseURLPattern(text); err == nil && !strings.HasPrefix(text, "https://") {
			t.Errorf("%q is a pattern", text)
		}
		if !pattern.fits(text) {
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.Port() != "" || u.User != nil || !strings.HasPrefix(u.Hostname(), "sns.") ||
			!strings.HasSuffix(u.Hostname(), ".amazonaws.com") || strings.Count(u.Hostname(), ".") != 3 || !strings.HasSuffix(u.Path, ".pem") {
			t.Errorf("%q fits", text)
		}
	})
}

// How long a server says that a document is new is bounded.
func FuzzCacheControl(f *testing.F) {
	f.Add("max-age=600, public")
	f.Add("no-store")
	f.Add(`max-age="99999999999999999999"`)
	f.Fuzz(func(t *testing.T, text string) {
		if d := freshFor(map[string][]string{"Cache-Control": {text}}); d < minFresh || d > maxFresh {
			t.Errorf("%q: %s", text, d)
		}
	})
}
