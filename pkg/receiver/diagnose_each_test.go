package receiver

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every receiver that can sign is spoilt in every known way.
func TestDiagnoseEachReceiver(t *testing.T) {
	for _, name := range Names() {
		r, _ := Lookup(name)
		f := r.Signatures[0]
		if a, known := algorithms[r.expand(f.Algorithm)]; !known || !fetchesNothing(a) || f.Keys != nil || f.JWT != nil || f.Callback != nil {
			continue // it is told in the words of its own scheme
		}
		t.Run(name, func(t *testing.T) {
			secret := secretFor(t, r)
			s := newSource(t, SourceConfig{Receiver: name, Secrets: []Secret{secret}})
			sig := s.signatures[0]
			genuine, body := sent(t, s)
			spoil := func(change func(*http.Request)) *http.Request {
				other := genuine.Clone(t.Context())
				change(other)
				return other
			}
			_, isHMAC := sig.algorithm.(hmacOf)
			_, isToken := sig.algorithm.(token)
			inHeader := sig.at.kind == header
			signedBody := (choice{sig.content}).uses(kindBody(sig)) && !sig.inBody() && sig.signsBody()

			if inHeader {
				expect(t, s, spoil(func(r *http.Request) { r.Header.Del(sig.at.arg) }), body, now, CauseUnsigned, CauseOtherHeader)
				if s.clock == nil || s.clock.at != sig.at {
					value := genuine.Header.Get(sig.at.arg)
					moved := spoil(func(r *http.Request) { r.Header.Del(sig.at.arg); r.Header.Set("X-Old-Signature", value) })
					expect(t, s, moved, body, now, CauseOtherHeader)
				}
			}
			if inHeader && sig.prefix != "" && name != "mollie" { // its second signature is the first without
				bare := spoil(func(r *http.Request) {
					r.Header.Set(sig.at.arg, strings.Replace(r.Header.Get(sig.at.arg), sig.prefix, "", 1))
				})
				expect(t, s, bare, body, now, CauseSignaturePrefix)
			}
			if inHeader && isHMAC {
				expect(t, s, spoil(func(r *http.Request) {
					i := signatureText(s, r, body)
					r.Header.Set(sig.at.arg, strings.Replace(r.Header.Get(sig.at.arg), i, otherEncoding(t, sig, i), 1))
				}), body, now, CauseSignatureEncoding)
				expect(t, s, spoil(func(r *http.Request) {
					i := signatureText(s, r, body)
					r.Header.Set(sig.at.arg, strings.Replace(r.Header.Get(sig.at.arg), i, i[:20], 1))
				}), body, now, CauseSignatureTruncated)
			}
			if sig.inBody() {
				expect(t, s, genuine, changedIn(body), now, CauseOtherSecret, CauseBody, CauseUnsigned, CausePartMissing)
				return
			}
			if signedBody && len(sig.when) == 0 && isJSON(mediaType(genuine.Header.Get("Content-Type"))) {
				for what, changed := range map[string][]byte{
					"newline": append(bytes.Clone(body), '\n'), "indented": []byte("{\n  \"id\": \"evt_1\",\n  \"type\": \"a.b\"\n}"), "packed": packed(t, body),
				} {
					if s.clock != nil && s.clock.inBody() && what != "newline" {
						continue
					}
					expect(t, s, genuine, changed, now, CauseBody)
				}
			}
			if slices.ContainsFunc(sig.content, isURL) {
				expect(t, s, spoil(func(r *http.Request) { r.URL.Scheme = "http" }), body, now, CauseURL)
				expect(t, s, spoil(func(r *http.Request) { r.URL.Path += "/" }), body, now, CauseURL)
				expect(t, s, spoil(func(r *http.Request) { r.Host = "10.0.0.1:8080"; r.Header.Set("X-Forwarded-Host", "hooks.example.com") }), body, now, CauseURL)
			}
			if s.clock != nil && s.clock.tolerance > 0 {
				expect(t, s, genuine, body, now.Add(time.Hour), CauseClock)
				expect(t, s, genuine, body, now.Add(-time.Hour), CauseClock)
			}
			spaced := newSourceOrNil(SourceConfig{Receiver: name, Secrets: []Secret{" " + secret + "\n"}})
			if (isHMAC || isToken) && r.Signatures[0].Secret == "" && spaced != nil {
				expect(t, spaced, genuine, body, now, CauseSecretSpace)
			}
			another := newSource(t, SourceConfig{Receiver: name, ID: "other", Secrets: []Secret{otherSecret(t, r)}})
			expect(t, another, genuine, body, now, CauseOtherSecret)
			if d := diagnosed(t, another, genuine, body, now, another, s); d.Cause != CauseOtherSource || !strings.Contains(d.Detail, s.Name()) {
				t.Errorf("of another source: %+v", d)
			}
		})
	}
}

// changedIn is a body in which something that is signed is another.
func changedIn(body []byte) []byte {
	for _, word := range []string{"letters", `"a"`, "user:password", "00D000000000001", "PG5v"} {
		body = bytes.Replace(body, []byte(word), []byte(word[:1]+"9"+word[2:]), 1)
	}
	return body
}

// signatureText is the text of the signature.
func signatureText(s *Source, r *http.Request, body []byte) string {
	sig := s.signatures[0]
	for item := range sig.items(s.request(r, body)) {
		if raw, err := sig.encoding.decode(item); err == nil && sig.algorithm.fits(len(raw)) {
			return item
		}
	}
	return ""
}

func newSourceOrNil(c SourceConfig) *Source {
	s, err := NewSource(c)
	if err != nil {
		return nil
	}
	return s
}

func kindBody(s *signature) kind {
	for _, p := range s.content {
		if p.kind == body || p.kind == documentText {
			return p.kind
		}
	}
	return body
}

// otherSecret is another secret of the same form.
func otherSecret(tb testing.TB, r *Receiver) text {
	tb.Helper()
	if a := r.Signatures[0].Algorithm; strings.HasPrefix(a, "hmac-") || a == "token" || strings.HasPrefix(a, "{") {
		switch r.Signatures[0].Secret {
		case "hex":
			return text(hex.EncodeToString([]byte("another key of some more bytes..")))
		case "base64", "whsec-base64":
			return text(base64.StdEncoding.EncodeToString([]byte("another key of some more bytes..")))
		}
		return "another:password"
	}
	return otherKeyPair(tb, r)
}

func otherEncoding(tb testing.TB, sig *signature, item string) string {
	tb.Helper()
	raw, err := sig.encoding.decode(item)
	if err != nil {
		tb.Fatal(err)
	}
	if other := hex.EncodeToString(raw); other != item {
		return other
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func packed(tb testing.TB, body []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(body); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// otherKeyPair is another private key of the algorithm.
func otherKeyPair(tb testing.TB, r *Receiver) text {
	tb.Helper()
	var private any = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	switch algorithm := r.Signatures[0].Algorithm; {
	case strings.HasPrefix(algorithm, "ecdsa"):
		return secretFor(tb, r) // a new one each time
	case strings.HasPrefix(algorithm, "rsa"):
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			tb.Fatal(err)
		}
		private = key
	case r.Signatures[0].Secret == "hex":
		return text(hex.EncodeToString(private.(ed25519.PrivateKey)))
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	if f := r.Signatures[0]; f.Secret == "pem" || f.Keys != nil {
		return text(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	return text(base64.StdEncoding.EncodeToString(der))
}
