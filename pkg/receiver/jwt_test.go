package receiver

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/belay-hooks/belay/internal/testprovider"
)

// tokenOf makes a token with a key of the name.
func tokenOf(tb testing.TB, algorithm jose.SignatureAlgorithm, key any, id string, claims map[string]any) string {
	tb.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT")
	if id != "" {
		options = options.WithHeader("kid", id)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// publicPEM is the public key in PEM.
func publicPEM(tb testing.TB, key crypto.PublicKey) string {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// with is the claims and some others; nil takes one away.
func with(claims map[string]any, others map[string]any) map[string]any {
	all := maps.Clone(claims)
	for name, value := range others {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

func forPubSub() map[string]any {
	return map[string]any{
		"iss": "https://accounts.google.com", "aud": "https://hooks.example.com/webhooks/x?q=1", "email": "push@p.iam.gserviceaccount.com",
		"email_verified": true, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

func TestPubSub(t *testing.T) {
	p := testprovider.New(t)
	key, other := rsaKey().(*rsa.PrivateKey), newKey(t)
	set := jwks(t, map[string]crypto.PublicKey{"a": key.Public(), "ec": other.Public()})
	p.Handle(certs, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(set) })
	s := newSource(t, SourceConfig{
		Receiver: "google-pubsub", Secrets: []Secret{}, Fetcher: newFetcher(t, p),
		Params: map[string]string{"email": "push@p.iam.gserviceaccount.com"},
	})
	token := func(change map[string]any) string {
		return tokenOf(t, jose.RS256, key, "a", with(forPubSub(), change))
	}
	encode := base64.RawURLEncoding.EncodeToString
	claims, err := json.Marshal(forPubSub())
	if err != nil {
		t.Fatal(err)
	}
	confused := encode([]byte(`{"alg":"HS256","kid":"a"}`)) + "." + encode(claims)
	mac := hmac.New(sha256.New, []byte(publicPEM(t, key.Public())))
	mac.Write([]byte(confused))
	genuine := token(nil)
	for name, test := range map[string]struct {
		token string
		want  Reason
	}{
		"genuine":                      {genuine, ""},
		"several audiences":            {token(map[string]any{"aud": []string{"x", "https://hooks.example.com/webhooks/x?q=1"}}), ""},
		"the other issuer":             {token(map[string]any{"iss": "accounts.google.com"}), ""},
		"another issuer":               {token(map[string]any{"iss": "https://accounts.example.com"}), ClaimWrong},
		"no issuer":                    {token(map[string]any{"iss": nil}), ClaimWrong},
		"another audience":             {token(map[string]any{"aud": "https://other.example.com/"}), ClaimWrong},
		"no audience":                  {token(map[string]any{"aud": nil}), ClaimWrong},
		"another account":              {token(map[string]any{"email": "evil@p.iam.gserviceaccount.com"}), ClaimWrong},
		"an account that is no text":   {token(map[string]any{"email": []string{"push@p.iam.gserviceaccount.com"}}), ClaimWrong},
		"not verified":                 {token(map[string]any{"email_verified": false}), ClaimWrong},
		"ended":                        {token(map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}), TimestampStale},
		"ended within the tolerance":   {token(map[string]any{"exp": now.Add(-30 * time.Second).Unix()}), ""},
		"no end":                       {token(map[string]any{"exp": nil}), TimestampMissing},
		"an end that is no number":     {token(map[string]any{"exp": "tomorrow"}), SignatureWrong},
		"made in the future":           {token(map[string]any{"iat": now.Add(time.Hour).Unix()}), TimestampFuture},
		"not good yet":                 {token(map[string]any{"nbf": now.Add(time.Hour).Unix()}), TimestampFuture},
		"alg none":                     {encode([]byte(`{"alg":"none"}`)) + "." + encode(claims) + ".", SignatureWrong},
		"the public key as a secret":   {confused + "." + encode(mac.Sum(nil)), SignatureWrong},
		"an algorithm that is not his": {tokenOf(t, jose.ES256, other, "ec", forPubSub()), SignatureWrong},
		"a strange key of that name":   {tokenOf(t, jose.RS256, strangeRSA(t), "a", forPubSub()), SignatureWrong},
		"the key of another name":      {tokenOf(t, jose.RS256, key, "ec", forPubSub()), SignatureWrong},
		"a key that nobody has":        {tokenOf(t, jose.RS256, key, "b", forPubSub()), SignatureWrong},
		"no name of a key":             {tokenOf(t, jose.RS256, key, "", forPubSub()), ""},
		"a name as long as a book":     {tokenOf(t, jose.RS256, key, strings.Repeat("b", 200), forPubSub()), SignatureWrong},
		"no signature":                 {genuine[:strings.LastIndexByte(genuine, '.')+1], SignatureWrong},
		"two parts":                    {genuine[:strings.LastIndexByte(genuine, '.')], SignatureWrong},
		"the JSON form":                {`{"payload":"e30","protected":"e30","signature":"e30"}`, SignatureWrong},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRequest("application/json", someBody)
			r.Host, r.URL.Scheme, r.URL.Path = "hooks.example.com", "https", "/webhooks/x"
			r.Header.Set("Authorization", "Bearer "+test.token)
			if _, err := s.Receive(r, someBody, now); reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	if asked := p.Asked(); len(asked) != 1 {
		t.Errorf("asked %q: an unknown key must not make us ask within a minute", asked)
	}
}

func strangeRSA(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// While the keys cannot be had nobody is told that he is wrong; a new key is
// found, and one that is withdrawn is forgotten.
func TestKeysComeAndGo(t *testing.T) {
	p := testprovider.New(t)
	first, second := strangeRSA(t), rsaKey().(*rsa.PrivateKey)
	keys := map[string]crypto.PublicKey{"1": first.Public()}
	p.Handle(certs, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(jwks(t, keys)) })
	s := newSource(t, SourceConfig{
		Receiver: "google-pubsub", Secrets: []Secret{}, Fetcher: newFetcher(t, p),
		Params: map[string]string{"email": "push@p.iam.gserviceaccount.com", "audience": "x"},
	})
	send := func(key *rsa.PrivateKey, id string, at time.Time) Reason {
		r := newRequest("application/json", someBody)
		r.Header.Set("Authorization", "Bearer "+tokenOf(t, jose.RS256, key, id, with(forPubSub(), map[string]any{
			"aud": "x", "iat": at.Unix(), "exp": at.Add(time.Hour).Unix(),
		})))
		_, err := s.Receive(r, someBody, at)
		return reasonOf(err)
	}
	p.SetDown(true)
	for _, step := range []struct {
		name string
		do   func()
		key  *rsa.PrivateKey
		id   string
		at   time.Duration
		want Reason
	}{
		{"the server is down", func() {}, first, "1", 0, KeysUnavailable},
		{"up, but failing was just now", func() { p.SetDown(false) }, first, "1", 5 * time.Second, KeysUnavailable},
		{"up", func() {}, first, "1", 11 * time.Second, ""},
		{"down, with keys at hand", func() { p.SetDown(true) }, first, "1", 30 * time.Minute, ""},
		{"an unknown key, down", func() {}, second, "2", 30 * time.Minute, KeysUnavailable},
		{"up, without it", func() { p.SetDown(false) }, second, "2", 31 * time.Minute, SignatureWrong},
		{"up, with it, too early", func() { keys["2"] = second.Public() }, second, "2", 31*time.Minute + 30*time.Second, SignatureWrong},
		{"up, with it", func() {}, second, "2", 33 * time.Minute, ""},
		{"both", func() {}, first, "1", 33 * time.Minute, ""},
		{"one is withdrawn, cached", func() { delete(keys, "1") }, first, "1", 34 * time.Minute, ""},
		{"one is withdrawn", func() {}, first, "1", 2 * time.Hour, SignatureWrong},
	} {
		step.do()
		if got := send(step.key, step.id, now.Add(step.at)); got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
	if got := KeysUnavailable.Status(); got != http.StatusServiceUnavailable {
		t.Errorf("status %d", got)
	}
}

// Plaid gives one key at a time, to who has the secret.
func TestPlaid(t *testing.T) {
	p := testprovider.New(t)
	key := newKey(t)
	p.Handle("sandbox.plaid.com/webhook_verification_key/get", func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			ClientID string `json:"client_id"`
			Secret   string `json:"secret"`
			KeyID    string `json:"key_id"`
		}
		if r.Method != "POST" || json.NewDecoder(r.Body).Decode(&asked) != nil || asked.ClientID != "me" || asked.Secret != `a "secret"` {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		jwk, err := jose.JSONWebKey{Key: key.Public(), KeyID: asked.KeyID, Use: "sig", Algorithm: "ES256"}.MarshalJSON()
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(`{"key":` + string(jwk) + `,"request_id":"1"}`))
	})
	s := newSource(t, SourceConfig{
		Receiver: "plaid", Secrets: []Secret{text(`a "secret"`)}, Fetcher: newFetcher(t, p),
		Params: map[string]string{"client_id": "me", "environment": "sandbox"},
	})
	sum := sha256.Sum256(someBody)
	claims := map[string]any{"iat": now.Unix(), "request_body_sha256": encodings["hex"].encode(sum[:])}
	for name, test := range map[string]struct {
		token, body string
		want        Reason
	}{
		"genuine":                 {tokenOf(t, jose.ES256, key, "k1", claims), string(someBody), ""},
		"another body":            {tokenOf(t, jose.ES256, key, "k1", claims), string(someBody) + " ", ClaimWrong},
		"no hash of the body":     {tokenOf(t, jose.ES256, key, "k1", with(claims, map[string]any{"request_body_sha256": nil})), string(someBody), ClaimWrong},
		"too old":                 {tokenOf(t, jose.ES256, key, "k1", with(claims, map[string]any{"iat": now.Add(-6 * time.Minute).Unix()})), string(someBody), TimestampStale},
		"no time":                 {tokenOf(t, jose.ES256, key, "k1", with(claims, map[string]any{"iat": nil})), string(someBody), TimestampMissing},
		"no name of a key":        {tokenOf(t, jose.ES256, key, "", claims), string(someBody), SignatureWrong},
		"a name that is JSON":     {tokenOf(t, jose.ES256, newKey(t), `","secret":"`, claims), string(someBody), SignatureWrong},
		"a key of somebody else":  {tokenOf(t, jose.ES256, newKey(t), "k1", claims), string(someBody), SignatureWrong},
		"RS256 with the same key": {tokenOf(t, jose.RS256, rsaKey(), "k1", claims), string(someBody), SignatureWrong},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRequest("application/json", nil)
			r.Header.Set("Plaid-Verification", test.token)
			if _, err := s.Receive(r, []byte(test.body), now); reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	t.Run("made up names are bounded", func(t *testing.T) {
		p.Asked()
		refused := 0
		for i := range 50 {
			r := newRequest("application/json", nil)
			r.Header.Set("Plaid-Verification", tokenOf(t, jose.ES256, key, "made-up-"+strings.Repeat("x", i), claims))
			if _, err := s.Receive(r, someBody, now); reasonOf(err) == KeysUnavailable {
				refused++
			}
		}
		if asked := len(p.Asked()); asked > foundBurst || refused < 50-foundBurst {
			t.Errorf("asked %d times, refused %d", asked, refused)
		}
	})
}

// The other ways in which keys are published.
func TestKeyFormats(t *testing.T) {
	p := testprovider.New(t)
	key := rsaKey().(*rsa.PrivateKey)
	cert, err := p.Certify("a", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	certPEM := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	page := func(where string, content any) {
		p.Handle(where, func(w http.ResponseWriter, r *http.Request) {
			if text, ok := content.(string); ok {
				_, _ = w.Write([]byte(text))
				return
			}
			_ = json.NewEncoder(w).Encode(content)
		})
	}
	page("keys.example.com/x509", map[string]string{"k": certPEM, "broken": "x"})
	page("keys.example.com/pem/k", publicPEM(t, key.Public()))
	page("id.example.com/.well-known/openid-configuration", map[string]string{"issuer": "https://id.example.com", "jwks_uri": "https://keys.example.com/jwks"})
	page("bad.example.com/.well-known/openid-configuration", map[string]string{"jwks_uri": "https://evil.example.net/jwks"})
	page("keys.example.com/jwks", string(jwks(t, map[string]crypto.PublicKey{"k": key.Public()})))
	for name, test := range map[string]struct {
		keys Keys
		want Reason
	}{
		"x509": {Keys{Format: "x509", Call: Call{URL: "https://keys.example.com/x509"}}, ""},
		"pem":  {Keys{Format: "pem", Call: Call{URL: "https://keys.example.com/pem/{key_id}", URLs: []string{"https://keys.example.com/pem/*"}}}, ""},
		"oidc": {Keys{Format: "oidc", Call: Call{
			URL: "https://id.example.com/.well-known/openid-configuration", URLs: []string{"https://id.example.com/.well-known/openid-configuration", "https://keys.example.com/*"},
		}}, ""},
		"oidc that leads elsewhere": {Keys{Format: "oidc", Call: Call{URL: "https://bad.example.com/.well-known/openid-configuration"}}, KeysUnavailable},
		"another format":            {Keys{Format: "jwks", Call: Call{URL: "https://keys.example.com/x509"}}, KeysUnavailable},
		"a host that is not there":  {Keys{Format: "jwks", Call: Call{URL: "https://nobody.example.com/"}}, KeysUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := New("tokens", Form{Signatures: []Signature{{
				Place: Place{Header: "Authorization"}, Keys: &test.keys, JWT: &JWT{Algorithms: []string{"RS256"}},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			s := sourceFor(t, r, SourceConfig{Fetcher: newFetcher(t, p)})
			request := newRequest("application/json", nil)
			request.Header.Set("Authorization", tokenOf(t, jose.RS256, key, "k", map[string]any{"exp": now.Add(time.Minute).Unix()}))
			if _, err := s.Receive(request, someBody, now); reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func sourceFor(tb testing.TB, r *Receiver, c SourceConfig) *Source {
	tb.Helper()
	all, err := Builtin().With(r)
	if err != nil {
		tb.Fatal(err)
	}
	c.Receiver = r.Slug
	s, err := all.NewSource(c)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestTokenForms(t *testing.T) {
	keys := &Keys{Format: "jwks", Call: Call{URL: "https://keys.example.com/"}}
	for name, test := range map[string]struct {
		signature Signature
		field     string
	}{
		"no algorithm":             {Signature{JWT: &JWT{}}, "signatures[0].jwt.algorithms"},
		"none":                     {Signature{JWT: &JWT{Algorithms: []string{"none"}}}, "signatures[0].jwt.algorithms[0]"},
		"a secret and public keys": {Signature{JWT: &JWT{Algorithms: []string{"HS256"}}, Keys: keys}, "signatures[0].jwt.algorithms[0]"},
		"both kinds":               {Signature{JWT: &JWT{Algorithms: []string{"RS256", "HS256"}}}, "signatures[0].jwt.algorithms[1]"},
		"http":                     {Signature{JWT: &JWT{Algorithms: []string{"RS256"}}, Keys: &Keys{Format: "jwks", Call: Call{URL: "http://keys.example.com/"}}}, "signatures[0].keys.urls[0]"},
		"an open URL":              {Signature{JWT: &JWT{Algorithms: []string{"RS256"}}, Keys: &Keys{Format: "jwks", Call: Call{URL: "{header:X}"}}}, "signatures[0].keys.urls"},
		"another method":           {Signature{JWT: &JWT{Algorithms: []string{"RS256"}}, Keys: &Keys{Format: "jwks", Call: Call{Method: "PUT", URL: "https://keys.example.com/"}}}, "signatures[0].keys.method"},
		"another format":           {Signature{JWT: &JWT{Algorithms: []string{"RS256"}}, Keys: &Keys{Format: "xml", Call: Call{URL: "https://keys.example.com/"}}}, "signatures[0].keys.format"},
		"an HMAC with public keys": {Signature{Encoding: "hex", Algorithm: "hmac-sha256", Content: "{body}", Keys: keys}, "signatures[0].algorithm"},
		"the secret is signed":     {Signature{Encoding: "hex", Algorithm: "hmac-sha256", Content: "{body}{secret}"}, "signatures[0].content"},
	} {
		t.Run(name, func(t *testing.T) {
			test.signature.Header = "X-Signature"
			_, err := New("tokens", Form{Signatures: []Signature{test.signature}})
			field, ok := err.(*FieldError) //nolint:errorlint // it is what New returns
			if !ok || field.Field != test.field {
				t.Errorf("error %v, want one of %s", err, test.field)
			}
		})
	}
}

func mustPKCS8(tb testing.TB, key any) []byte {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}
