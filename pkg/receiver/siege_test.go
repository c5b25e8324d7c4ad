package receiver

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/belay-hooks/belay/internal/testprovider"
)

// keyed is a source whose key is fetched, as the text of the form says.
func keyed(tb testing.TB, f *Fetcher, keys string) *Source {
	tb.Helper()
	s, err := formed(`signatures: [{header: X-S, encoding: base64, algorithm: rsa-sha256, content: "{body}", keys: {`+keys+"}}]\n", nil)
	if err != nil {
		tb.Fatal(err)
	}
	s.secrets, s.fetcher = nil, f
	return s
}

// signedBy is a request with the signature of a key.
func signedBy(tb testing.TB, key *rsa.PrivateKey) *http.Request {
	tb.Helper()
	sum := sha256.Sum256(someBody)
	signature, err := key.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		tb.Fatal(err)
	}
	r := newRequest("application/json", nil)
	r.Header.Set("X-S", base64.StdEncoding.EncodeToString(signature))
	return r
}

// Who makes up URLs of keys uses up what may be fetched: of keys that nobody knows.
func TestKnownKeysAreFetchedInASiege(t *testing.T) {
	p := testprovider.New(t)
	key := rsaKey().(*rsa.PrivateKey)
	p.Handle("keys.example.com/good", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, publicPEM(t, key.Public()))
	})
	s := keyed(t, newFetcher(t, p), `format: pem, url: "{header:X-U}", urls: [https://keys.example.com/*]`)
	good := signedBy(t, key)
	good.Header.Set("X-U", "https://keys.example.com/good")
	if _, err := s.Receive(good, someBody, now); err != nil {
		t.Fatal(err)
	}
	later := now.Add(2 * time.Hour) // when the key is no longer new
	for i := range 3 * foundBurst {
		forged := good.Clone(t.Context())
		forged.Header.Set("X-U", fmt.Sprintf("https://keys.example.com/%d", i))
		if _, err := s.Receive(forged, someBody, later); reasonOf(err) != KeysUnavailable {
			t.Fatal(err)
		}
	}
	if _, err := s.Receive(good, someBody, later); err != nil {
		t.Error(err)
	}
}

// Questions to a provider that does not answer leave room for keys.
func TestQuestionsLeaveRoomForKeys(t *testing.T) {
	p := testprovider.New(t)
	key := rsaKey().(*rsa.PrivateKey)
	asked, goOn := make(chan struct{}, 1000), make(chan struct{})
	p.Handle("api.stripe.com/", func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-goOn
	})
	p.Handle("keys.example.com/key", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, publicPEM(t, key.Public()))
	})
	f := newFetcher(t, p)
	besieged := newSource(t, SourceConfig{Receiver: "stripe-callback", Fetcher: f})
	var all sync.WaitGroup
	for i := range 2 * maxFetches {
		all.Go(func() {
			_, _ = besieged.Receive(newRequest("application/json", nil), fmt.Appendf(nil, `{"id":"evt_%d"}`, i), now)
		})
	}
	for range maxQuestions {
		<-asked
	}
	if _, err := keyed(t, f, "format: pem, url: https://keys.example.com/key").Receive(signedBy(t, key), someBody, now); err != nil {
		t.Error(err)
	}
	close(goOn)
	all.Wait()
}

// A sender replaces its key at the same URL, and names no keys.
func TestKeyIsReplaced(t *testing.T) {
	p := testprovider.New(t)
	before, after := rsaKey().(*rsa.PrivateKey), strangeRSA(t)
	current := before
	p.Handle("keys.example.com/pem", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, publicPEM(t, current.Public()))
	})
	p.Handle("keys.example.com/jwks", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(jwks(t, map[string]crypto.PublicKey{"": current.Public()}))
	})
	f := newFetcher(t, p)
	plain := keyed(t, f, "format: pem, url: https://keys.example.com/pem")
	tokens, err := formed(`signatures: [{header: X-S, keys: {format: jwks, url: https://keys.example.com/jwks}, jwt: {algorithms: [RS256]}}]`, nil)
	if err != nil {
		t.Fatal(err)
	}
	tokens.secrets, tokens.fetcher = nil, f
	token := func(key *rsa.PrivateKey) *http.Request {
		r := newRequest("application/json", nil)
		r.Header.Set("X-S", tokenOf(t, jose.RS256, key, "", map[string]any{"exp": now.Add(time.Hour).Unix()}))
		return r
	}
	for name, test := range map[string]struct {
		source *Source
		r      func(*rsa.PrivateKey) *http.Request
	}{
		"a signature": {plain, func(k *rsa.PrivateKey) *http.Request { return signedBy(t, k) }},
		"a token":     {tokens, token},
	} {
		t.Run(name, func(t *testing.T) {
			current = before
			if _, err := test.source.Receive(test.r(before), someBody, now); err != nil {
				t.Fatal(err)
			}
			current = after
			p.Asked()
			for i := range 5 { // of a stranger, at once
				if _, err := test.source.Receive(test.r(after), someBody, now.Add(time.Second)); reasonOf(err) != SignatureWrong {
					t.Errorf("%d: %v", i, err)
				}
			}
			if asked := p.Asked(); len(asked) > 0 {
				t.Errorf("asked %q in the same minute", asked)
			}
			if _, err := test.source.Receive(test.r(after), someBody, now.Add(2*time.Minute)); err != nil {
				t.Error(err)
			}
			if _, err := test.source.Receive(test.r(before), someBody, now.Add(2*time.Minute)); reasonOf(err) != SignatureWrong {
				t.Errorf("the key before: %v", err)
			}
			if asked := p.Asked(); len(asked) != 1 {
				t.Errorf("asked %q", asked)
			}
		})
	}
}

// A certificate that ended is asked for again now and then, not for each request.
func TestEndedCertificateIsNotFetchedAgainAndAgain(t *testing.T) {
	p := testprovider.New(t)
	key := rsaKey().(*rsa.PrivateKey)
	der, err := p.Certify("keys.example.com", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	p.Handle("keys.example.com/key", func(w http.ResponseWriter, r *http.Request) {
		_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	})
	s := keyed(t, newFetcher(t, p), `format: pem, url: "{header:X-U}", urls: [https://keys.example.com/*]`)
	r := signedBy(t, key)
	r.Header.Set("X-U", "https://keys.example.com/key")
	ended := now.AddDate(100, 0, 0)
	for range 5 {
		if _, err := s.Receive(r, someBody, ended); reasonOf(err) != SignatureWrong {
			t.Fatal(err)
		}
	}
	if asked := p.Asked(); len(asked) != 1 {
		t.Errorf("asked %d times", len(asked))
	}
}

// One secret that cannot be read is in nobody's way who has the other.
func TestOneOfTheSecretsIsUnreadable(t *testing.T) {
	key := rsaKey().(*rsa.PrivateKey)
	shared := newSource(t, SourceConfig{Receiver: "monday", Secrets: []Secret{broken{}, text("shared")}})
	pinned := newSource(t, SourceConfig{Receiver: "google-pubsub", Secrets: []Secret{broken{}, text(publicPEM(t, key.Public()))}, Params: map[string]string{"email": "push@p.iam.gserviceaccount.com"}})
	claims := map[string]any{"aud": "https://hooks.example.com/webhooks/x?q=1", "exp": now.Add(time.Hour).Unix()}
	for name, test := range map[string]struct {
		source *Source
		token  string
		want   Reason
	}{
		"a shared secret":     {shared, tokenOf(t, jose.HS256, padded([]byte("shared")), "", claims), ""},
		"another one":         {shared, tokenOf(t, jose.HS256, padded([]byte("other")), "", claims), SecretUnavailable},
		"a public key":        {pinned, "Bearer " + tokenOf(t, jose.RS256, key, "", forPubSub()), ""},
		"another public key":  {pinned, "Bearer " + tokenOf(t, jose.RS256, strangeRSA(t), "", forPubSub()), SecretUnavailable},
		"a claim that is not": {shared, tokenOf(t, jose.HS256, padded([]byte("shared")), "", with(claims, map[string]any{"aud": "x"})), ClaimWrong},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRequest("application/json", nil)
			r.Header.Set("Authorization", test.token)
			if _, err := test.source.Receive(r, someBody, now); reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// Where the provider refuses one secret it is asked with the next.
func TestCallbackTakesEachSecret(t *testing.T) {
	p := testprovider.New(t)
	p.Handle("api.stripe.com/v1/events/evt_1", func(w http.ResponseWriter, r *http.Request) {
		if user, _, _ := r.BasicAuth(); user != "rk_new" {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"id":"evt_1"}`)
	})
	for name, test := range map[string]struct {
		secrets []Secret
		want    Reason
		asked   int
	}{
		"the first":      {[]Secret{text("rk_new"), text("rk_old")}, "", 1},
		"the second":     {[]Secret{text("rk_old"), text("rk_new")}, "", 2},
		"none":           {[]Secret{text("rk_old"), text("rk_older")}, SecretUnavailable, 2},
		"one unreadable": {[]Secret{broken{}, text("rk_new")}, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			p.Asked()
			s := newSource(t, SourceConfig{Receiver: "stripe-callback", Secrets: test.secrets, Fetcher: newFetcher(t, p)})
			_, err := s.Receive(newRequest("application/json", nil), []byte(`{"id":"evt_1"}`), now)
			if asked := len(p.Asked()); reasonOf(err) != test.want || asked != test.asked {
				t.Errorf("error %v, asked %d times", err, asked)
			}
		})
	}
}

// Different events never have one id.
func TestIDsAreTold(t *testing.T) {
	ids := func(receiver, contentType string, bodies ...string) (all []string) {
		s := newSource(t, SourceConfig{Receiver: receiver, Secrets: []Secret{text(strings.Repeat("a1", 32))}})
		for _, body := range bodies {
			q := s.request(newRequest(contentType, nil), []byte(body))
			if err := s.readDocument(q); err != nil {
				t.Fatal(err)
			}
			e, err := s.newEvent(q, now)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e.ID)
		}
		return all
	}
	item := func(psp, success string) string {
		return fmt.Sprintf(`{"NotificationRequestItem":{"eventCode":"AUTHORISATION","pspReference":%q,"success":%q}}`, psp, success)
	}
	batches := ids("adyen", "application/json",
		`{"notificationItems":[`+item("1", "true")+","+item("2", "false")+`]}`,
		`{"notificationItems":[`+item("1", "true")+","+item("2", "true")+","+item("2", "false")+`]}`)
	if batches[0] == batches[1] {
		t.Errorf("two batches are %s", batches[0])
	}
	locks := ids("netlify", "application/json",
		`{"id":"1","state":"ready","locked":true,"updated_at":"2026-11-22T10:00:00Z"}`,
		`{"id":"1","state":"ready","locked":false,"updated_at":"2026-11-22T10:05:00Z"}`)
	if locks[0] == locks[1] {
		t.Errorf("a lock and its end are %s", locks[0])
	}
	long := ids("stripe", "application/json", `{"id":"`+strings.Repeat("a", maxName)+`1"}`, `{"id":"`+strings.Repeat("a", maxName)+`2"}`)
	if long[0] == long[1] || len(long[0]) > maxName {
		t.Errorf("two long ids are %s and %s", long[0], long[1])
	}
}

// Where time and token run together in what is signed, nobody can cut them in
// another place: it would be another event.
func TestTokenIsNotCutElsewhere(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "mailgun-routes"})
	const genuine = "timestamp=1795341600&token=12ab"
	body, err := s.Sign(newRequest(formEncoded, nil), []byte(genuine), now)
	if err != nil {
		t.Fatal(err)
	}
	for cut, want := range map[string]Reason{
		genuine:                           "",
		"timestamp=17953416001&token=2ab": TimestampFuture,
		"timestamp=179534160&token=012ab": TimestampStale,
	} {
		if _, err := s.Receive(newRequest(formEncoded, nil), []byte(strings.Replace(string(body), genuine, cut, 1)), now); reasonOf(err) != want {
			t.Errorf("%s: %v", cut, err)
		}
	}
}
