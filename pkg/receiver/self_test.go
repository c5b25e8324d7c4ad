package receiver

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var rsaKey = sync.OnceValue(func() any {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// secretFor is a secret with which the receiver's first signature can sign.
func secretFor(tb testing.TB, r *Receiver) text {
	tb.Helper()
	f := r.Signatures[0]
	key := []byte("a key of thirty-two bytes, no more"[:32])
	var private any
	switch f.Algorithm {
	case "ed25519":
		seeded := ed25519.NewKeyFromSeed(key)
		if f.Secret == "hex" {
			return text(hex.EncodeToString(seeded))
		}
		private = seeded
	case "ecdsa-sha256":
		generated, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		private = generated
	case "rsa-sha1", "rsa-sha256":
		private = rsaKey()
	}
	if f.JWT != nil && f.JWT.Algorithms[0] == "RS256" {
		private, f.Secret = rsaKey(), "pem"
	}
	if f.JWT != nil && f.JWT.Algorithms[0] == "ES256" {
		generated, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		private, f.Secret = generated, "pem"
	}
	if f.Keys != nil {
		f.Secret = "pem"
	}
	if private != nil {
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			tb.Fatal(err)
		}
		key = der
	}
	if f.KeyID != "" {
		return "a secret of an app" // and no name before a colon
	}
	switch f.Secret {
	case "hex":
		return text(hex.EncodeToString(key))
	case "base64", "whsec-base64":
		return text(base64.StdEncoding.EncodeToString(key))
	case "salesforce-id":
		return text("00D000000000001EAA")
	case "pem":
		return text(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	}
	return text("user:password")
}

// bodies are those of receivers whose signature or time stands in the body.
var bodies = map[string]string{
	"linear":          `{"type":"Issue","webhookTimestamp":%d}`,
	"pusher":          `{"time_ms":%d,"events":[]}`,
	"mailgun-routes":  "timestamp=1795341600&token=letters",
	"mailgun":         `{"signature":{"timestamp":"1795341600","token":"50 letters"}}`,
	"dropbox-sign":    `{"event":{"event_time":"1795341600","event_type":"a","event_hash":""}}`,
	"travis-ci":       `payload=%7B%22type%22%3A%22push%22%7D`,
	"aws-sns":         `{"Type":"Notification","MessageId":"1","TopicArn":"x","Message":"50 letters","Timestamp":"2026-11-22T10:00:00Z","SignatureVersion":"2"}`,
	"ms-graph":        `{"value":[{"changeType":"updated","clientState":"another"},{"changeType":"updated"}]}`,
	"adobe-io-events": `{"recipient_client_id":"x","type":"a"}`,
	"figma":           `{"event_type":"FILE_UPDATE","file_key":"b"}`,
	"salesforce-outbound": `<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">` +
		`<OrganizationId>%s</OrganizationId><ActionId>04k000000000001AAA</ActionId><Notification><Id>04l000000000001AAA</Id></Notification></notifications></e:Body></e:Envelope>`,
	"adyen": `{"notificationItems":[{"NotificationRequestItem":{` +
		`"pspReference":"letters","eventCode":"AUTHORISATION","success":"true","amount":{"value":1795341600,"currency":"EUR"}}}]}`,
	"braintree": `bt_signature=|00&bt_payload=PG5vdGlmaWNhdGlvbj48a2luZD5hPC9raW5kPjwvbm90aWZpY2F0aW9uPg==`,
}

// sent is a genuine request of a receiver, signed by itself.
func sent(tb testing.TB, s *Source) (*http.Request, []byte) {
	tb.Helper()
	f := &s.receiver.Form
	contentType := "application/json"
	if len(f.ContentTypes) > 0 {
		contentType = f.ContentTypes[0]
	}
	var content []byte
	switch format := bodies[f.Slug]; {
	case f.Slug == "linear" || f.Slug == "pusher":
		content = fmt.Appendf(nil, format, now.UnixMilli())
	case f.Slug == "salesforce-outbound":
		content = fmt.Appendf(nil, format, s.mustSecret(tb))
	case format != "":
		content = []byte(format)
	case isJSON(contentType):
		content = someBody
	default:
		content = []byte("From=%2B1234&To=b")
	}
	r := httptest.NewRequest(f.Methods[0], "https://hooks.example.com/webhooks/x?q=1", nil)
	r.Header.Set("Content-Type", contentType)
	for _, p := range s.signatures[0].content {
		if p.kind == header {
			r.Header.Set(p.arg, "x1")
		}
	}
	for _, c := range s.signatures[0].when {
		if c.template[0].kind == header {
			r.Header.Set(c.template[0].arg, c.wants[0])
		}
	}
	body, err := s.Sign(r, content, now)
	if err != nil {
		tb.Fatal(err)
	}
	return r, body
}

func (s *Source) mustSecret(tb testing.TB) string {
	tb.Helper()
	secret, err := s.secrets[0].Value()
	if err != nil {
		tb.Fatal(err)
	}
	return secret
}

// Every receiver agrees with itself, and with nothing that was changed on the way.
func TestEachReceiverAgainstItself(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			r, _ := Lookup(name)
			s := newSource(t, SourceConfig{Receiver: name, Secrets: []Secret{secretFor(t, r)}})
			if s.signatures[0].callback != nil {
				r := httptest.NewRequest("POST", "https://hooks.example.com/", nil)
				if _, err := s.Sign(r, nil, now); !errors.Is(err, errAsked) {
					t.Errorf("signed: %v", err)
				}
				return
			}
			genuine, content := sent(t, s)
			if _, err := s.Receive(genuine, content, now); err != nil {
				t.Fatal(err)
			}
			refused := func(what string, r *http.Request, b []byte) {
				t.Helper()
				if err := s.verify(s.request(r, b), now); err == nil {
					t.Errorf("%s changed, and accepted", what)
				}
			}
			if signsBody(s.signatures[0]) {
				for i := range content {
					changed := slices.Clone(content)
					changed[i] ^= 1
					refused(fmt.Sprintf("byte %d of the body", i), genuine, changed)
				}
			}
			if s.signatures[0].inBody() {
				for _, word := range []string{"letters", "1795341600", `"a"`} {
					if changed := strings.Replace(string(content), word, word[:1]+"9"+word[1:], 1); changed != string(content) {
						refused(word, genuine, []byte(changed))
					}
				}
			}
			if s.NeedsURL() {
				other := genuine.Clone(t.Context())
				other.URL.Path += "x"
				refused("the URL", other, content)
			}
			for _, p := range timesAndSignatures(s) {
				if p.at.kind != header {
					continue
				}
				value := genuine.Header.Get(p.at.arg)
				for i := range len(value) - 4 { // the last bits of base64 mean nothing
					if s.signatures[0].token != nil && value[i+1] == '.' {
						continue
					}
					other := genuine.Clone(t.Context())
					other.Header.Set(p.at.arg, value[:i]+string(value[i]^1)+value[i+1:])
					refused(fmt.Sprintf("byte %d of %s", i, p), other, content)
				}
				other := genuine.Clone(t.Context())
				other.Header.Del(p.at.arg)
				refused("all", other, content)
			}
			if s.clock != nil && s.clock.tolerance > 0 {
				for _, at := range []time.Time{now.Add(s.clock.tolerance + time.Minute), now.Add(-s.clock.tolerance - time.Minute)} {
					if err := s.verify(s.request(genuine, content), at); reasonOf(err) != TimestampStale && reasonOf(err) != TimestampFuture {
						t.Errorf("at another time: %v", err)
					}
				}
			}
		})
	}
}

func timesAndSignatures(s *Source) []place {
	all := []place{s.signatures[0].place}
	if s.clock != nil {
		all = append(all, s.clock.place)
	}
	return all
}

// The two kinds of signature of Standard Webhooks take two kinds of key.
func TestStandardWebhooksV1a(t *testing.T) {
	private := ed25519.NewKeyFromSeed([]byte("a key of thirty-two bytes, no more"[:32]))
	encode := base64.StdEncoding.EncodeToString
	source := func(secrets ...Secret) *Source {
		return newSource(t, SourceConfig{Receiver: "standard-webhooks", Secrets: secrets})
	}
	sender, shared := source(text("whsk_"+encode(private))), secretOf("standard-webhooks")
	public := text("whpk_" + encode(private.Public().(ed25519.PublicKey)))
	other := text("whpk_" + encode(ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)))
	genuine := signed(t, sender, "application/json", someBody, nil)
	if got := genuine.Header.Get("Webhook-Signature"); !strings.HasPrefix(got, "v1a,") {
		t.Fatalf("signed %s", got)
	}
	symmetric := signed(t, source(shared), "application/json", someBody, nil)
	for name, test := range map[string]struct {
		source *Source
		r      *http.Request
		want   Reason
	}{
		"the public key":                  {source(public), genuine, ""},
		"the private key":                 {sender, genuine, ""},
		"both kinds":                      {source(shared, public), genuine, ""},
		"both kinds, the other signature": {source(public, shared), symmetric, ""},
		"another public key":              {source(other), genuine, SignatureWrong},
		"only the other kind":             {source(shared), genuine, SignatureWrong},
		"only a public key, and v1":       {source(public), symmetric, SignatureWrong},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := test.source.Receive(test.r, someBody, now); reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// What Twilio signs of JSON is the URL, and the body by the hash in it.
func TestTwilioJSON(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "twilio", Secrets: []Secret{text("12345")}})
	const body = `{"property": "value", "boolean": true}`
	for name, test := range map[string]struct {
		query, body, contentType string
		want                     Reason
	}{
		"genuine":        {"?foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620", body, "application/json", ""},
		"another body":   {"?foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620", body + " ", "application/json", SignedMissing},
		"another hash":   {"?foo=1&bar=2&bodySHA256=1a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620", body, "application/json", SignedMissing},
		"no hash":        {"?foo=1&bar=2", body, "application/json", SignedMissing},
		"called a form":  {"?foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620", "a=b", "application/x-www-form-urlencoded", SignatureWrong},
		"no hash, empty": {"?foo=1&bar=2&bodySHA256=", "", "application/json", SignedMissing},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "https://mycompany.com/myapp.php"+test.query, nil)
			r.Header.Set("X-Twilio-Signature", "a9nBmqA0ju/hNViExpshrM61xv4=")
			r.Header.Set("Content-Type", test.contentType)
			if _, err := s.Receive(r, []byte(test.body), now); reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
