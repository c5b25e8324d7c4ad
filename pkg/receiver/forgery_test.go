package receiver

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // what Braintree signs with
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/testprovider"
)

// Where values are signed and not bytes, a value must not stand there twice: who
// reads the body later may take the other one.
func TestSignedValuesStandOnce(t *testing.T) {
	p := testprovider.New(t)
	k := newTopic(t, p)
	sns := newSource(t, SourceConfig{Receiver: "aws-sns", Secrets: []Secret{}, Fetcher: newFetcher(t, p), Params: map[string]string{"topic": "arn:aws:sns:us-east-1:1:a"}})
	message, err := json.Marshal(k.message(t, "2", notification()))
	if err != nil {
		t.Fatal(err)
	}
	twice := strings.TrimSuffix(string(message), "}") + `,"Message":"forged"}`

	adyen := newSource(t, SourceConfig{Receiver: "adyen", Secrets: []Secret{text(strings.Repeat("a1", 32))}})
	_, item := sent(t, adyen)
	forged := strings.Replace(string(item), `"amount":`, `"amount":{"value":1795341600,"currency":"EUR"},"amount":`, 1)
	forged = forged[:strings.LastIndex(forged, "1795341600")] + "1" + forged[strings.LastIndex(forged, "1795341600")+10:]

	braintree := newSource(t, SourceConfig{Receiver: "braintree", Secrets: []Secret{text("private")}, Params: map[string]string{"public_key": "public"}})
	payload := base64.StdEncoding.EncodeToString([]byte("<notification><kind>check</kind></notification>"))
	key := sha1.Sum([]byte("private")) //nolint:gosec // see above
	mac := hmac.New(sha1.New, key[:])
	mac.Write([]byte(payload))
	form := url.Values{"bt_signature": {"public|" + hex.EncodeToString(mac.Sum(nil))}, "bt_payload": {payload}}.Encode()

	for name, test := range map[string]struct {
		source            *Source
		contentType, body string
		want              Reason
	}{
		"SNS":                  {sns, "text/plain", string(message), ""},
		"SNS, two messages":    {sns, "text/plain", twice, SignatureMissing},
		"Adyen":                {adyen, "application/json", string(item), ""},
		"Adyen, two amounts":   {adyen, "application/json", forged, SignatureMissing},
		"Braintree":            {braintree, formEncoded, form, ""},
		"Braintree, two forms": {braintree, formEncoded, form + "&bt_payload=Zm9yZ2Vk", SignedMissing},
		"Braintree, the same":  {braintree, formEncoded, form + "&bt_payload=" + url.QueryEscape(payload), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.source.Receive(newRequest(test.contentType, nil), []byte(test.body), now)
			if reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// Anybody can have a bucket called sns, which is a host of Amazon with any file.
func TestSNSCertificateInABucket(t *testing.T) {
	p := testprovider.New(t)
	k := newTopic(t, p)
	der, err := p.Certify("anybody.example.com", k.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	s := newSource(t, SourceConfig{Receiver: "aws-sns", Secrets: []Secret{}, Fetcher: newFetcher(t, p), Params: map[string]string{"topic": "arn:aws:sns:us-east-1:1:a"}})
	for _, host := range []string{"sns.s3.amazonaws.com", "sns.s3-us-west-2.amazonaws.com", "sns.s3-accelerate.amazonaws.com"} {
		p.Handle(host+"/SimpleNotificationService-1.pem", func(w http.ResponseWriter, r *http.Request) {
			_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
		})
		message := k.message(t, "2", notification())
		message["SigningCertURL"] = "https://" + host + "/SimpleNotificationService-1.pem"
		body, err := json.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Receive(newRequest("text/plain", nil), body, now); reasonOf(err) != SignatureWrong {
			t.Errorf("%s: %v", host, err)
		}
	}
	if asked := p.Asked(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
}

// What a server behind the middleware reads is what was verified.
func TestMiddlewareHandsOnWhatIsVerified(t *testing.T) {
	p := testprovider.New(t)
	p.Handle("api.stripe.com/v1/events/evt_1", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"id":"evt_1"}`) })
	s := newSource(t, SourceConfig{Receiver: "stripe-callback", Fetcher: newFetcher(t, p)})
	var got string
	h := Middleware(s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = string(body)
		if r.ContentLength != int64(len(body)) {
			t.Errorf("length %d of %d", r.ContentLength, len(body))
		}
	}))
	r := httptest.NewRequest("POST", "/", strings.NewReader(`{"id":"evt_1","amount":1000000}`))
	h.ServeHTTP(httptest.NewRecorder(), r)
	if got != `{"id":"evt_1"}` {
		t.Errorf("body %q", got)
	}
}

// A challenge that is signed for a stranger must not be a webhook.
func TestChallengeIsNoWebhook(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "x-twitter"})
	for _, challenge := range []string{"123", "true", "-1.5e3", "null", "a=b"} {
		r := httptest.NewRequest("GET", "https://hooks.example.com/x?crc_token="+url.QueryEscape(challenge), nil)
		got, err := s.Receive(r, nil, now)
		if err == nil {
			t.Errorf("%s is signed: %s", challenge, got.Answer.Body)
		}
	}
	r := httptest.NewRequest("GET", "https://hooks.example.com/x?crc_token=YWJj", nil)
	if _, err := s.Receive(r, nil, now); err != nil {
		t.Error(err)
	}
}

// Plivo signs the form, so that nothing else can be a body.
func TestPlivoBodyIsSigned(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "plivo"})
	plain := func(method, contentType string) *http.Request {
		r := httptest.NewRequest(method, "https://hooks.example.com/x?CallUUID=1", nil)
		r.Header.Set("X-Plivo-Signature-V3-Nonce", "1")
		if _, err := s.Sign(r, nil, now); err != nil {
			t.Fatal(err)
		}
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		return r
	}
	for name, test := range map[string]struct {
		r    *http.Request
		body string
		want Reason
	}{
		"a GET":                 {plain("GET", ""), "", ""},
		"a GET with a form":     {plain("GET", formEncoded), "Event=Forged", SignedMissing},
		"an empty POST":         {plain("POST", ""), "", ""},
		"a POST with JSON":      {plain("POST", "application/json"), `{"Event":"Forged"}`, SignedMissing},
		"a POST with no type":   {plain("POST", ""), `{"Event":"Forged"}`, SignedMissing},
		"a POST with a forgery": {plain("POST", formEncoded), "Event=Forged", SignatureWrong},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Receive(test.r, []byte(test.body), now); reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// Two sources ask the same URL for their own keys.
func TestKeysAreOfWhoAsked(t *testing.T) {
	p := testprovider.New(t)
	keys := map[string]*rsa.PrivateKey{"a": rsaKey().(*rsa.PrivateKey), "b": strangeRSA(t)}
	p.Handle("keys.example.com/key", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, publicPEM(t, keys[string(body)].Public()))
	})
	f := newFetcher(t, p)
	source := func(tenant string) *Source {
		s, err := formed(`
params: {tenant: {default: a}}
signatures:
  - header: X-S
    encoding: base64
    algorithm: rsa-sha256
    content: "{body}"
    keys: {method: POST, url: https://keys.example.com/key, body: "{param:tenant}", format: pem}
`, map[string]string{"tenant": tenant})
		if err != nil {
			t.Fatal(err)
		}
		s.secrets, s.fetcher = nil, f
		return s
	}
	sum := sha256.Sum256(someBody)
	signature, err := keys["a"].Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	r := newRequest("application/json", nil)
	r.Header.Set("X-S", base64.StdEncoding.EncodeToString(signature))
	if _, err := source("a").Receive(r, someBody, now); err != nil {
		t.Errorf("of its own tenant: %v", err)
	}
	if _, err := source("b").Receive(r, someBody, now.Add(time.Second)); reasonOf(err) != SignatureWrong {
		t.Errorf("of another tenant: %v", err)
	}
}

// A document that is read in one way is not good for who reads it in another: for
// who asks that its certificate is for a name, or for who wants a set of keys.
func TestKeysAreReadByEach(t *testing.T) {
	p := testprovider.New(t)
	key := rsaKey().(*rsa.PrivateKey)
	der, err := p.Certify("somebody.example.com", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	p.Handle("keys.example.com/key", func(w http.ResponseWriter, r *http.Request) {
		_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	})
	f := newFetcher(t, p)
	sum := sha256.Sum256(someBody)
	signature, err := key.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		keys string
		want Reason
	}{
		{"format: pem", ""},
		{"format: pem, names: [other.example.com]", KeysUnavailable},
		{"format: oidc", KeysUnavailable},
		{"format: jwks", KeysUnavailable},
	} {
		s, err := formed(`signatures: [{header: X-S, encoding: base64, algorithm: rsa-sha256, content: "{body}", keys: {url: https://keys.example.com/key, `+test.keys+"}}]\n", nil)
		if err != nil {
			t.Fatal(err)
		}
		s.secrets, s.fetcher = nil, f
		r := newRequest("application/json", nil)
		r.Header.Set("X-S", base64.StdEncoding.EncodeToString(signature))
		if _, err := s.Receive(r, someBody, now); reasonOf(err) != test.want {
			t.Errorf("%s: %v", test.keys, err)
		}
	}
}

// Who owns a connected account makes events there, which are not ours unless the
// source says so.
func TestStripeCallbackIsOfOurAccount(t *testing.T) {
	p := testprovider.New(t)
	p.Handle("api.stripe.com/v1/events/evt_1", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Stripe-Account") != "acct_stranger" {
			http.Error(w, "no such event", http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, `{"id":"evt_1","type":"checkout.session.completed"}`)
	})
	for account, want := range map[string]Reason{"": SignatureWrong, "acct_ours": SignatureWrong, "{json:account}": ""} {
		s := newSource(t, SourceConfig{Receiver: "stripe-callback", Fetcher: newFetcher(t, p), Params: map[string]string{"account": account}})
		_, err := s.Receive(newRequest("application/json", nil), []byte(`{"id":"evt_1","account":"acct_stranger"}`), now)
		if reasonOf(err) != want {
			t.Errorf("params.account %q: %v", account, err)
		}
	}
}

// An audience or an issuer that is left empty is not one that fits all.
func TestEmptyClaimsAreNotAnything(t *testing.T) {
	for _, params := range []map[string]string{
		{"email": "push@p.iam.gserviceaccount.com", "audience": ""},
	} {
		_, err := NewSource(SourceConfig{Receiver: "google-pubsub", Params: params, Fetcher: offline})
		if field, ok := errors.AsType[*FieldError](err); !ok || field.Field != "params.audience" {
			t.Errorf("%v: error %v", params, err)
		}
	}
	_, err := formed("params: {issuer: {about: x}}\n"+`signatures: [{header: X-S, jwt: {algorithms: [HS256], issuers: ["{param:issuer}"]}}]`, map[string]string{"issuer": ""})
	if field, ok := errors.AsType[*FieldError](err); !ok || field.Field != "params.issuer" {
		t.Errorf("error %v", err)
	}
}
