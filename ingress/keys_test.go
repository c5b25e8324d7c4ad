package ingress_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/belay-hooks/belay/internal/testprovider"
	"github.com/belay-hooks/belay/pkg/receiver"
)

// Through a real door, with keys from a real HTTPS server: who is not the sender
// hears 401, and nobody does while the keys cannot be had.
func TestKeysAreFetched(t *testing.T) {
	p := testprovider.New(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.Handle("www.googleapis.com/oauth2/v3/certs", func(w http.ResponseWriter, r *http.Request) {
		text, err := jose.JSONWebKey{Key: key.Public(), Use: "sig", Algorithm: "RS256"}.MarshalJSON()
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(`{"keys":[` + string(text) + `]}`))
	})
	fetcher := receiver.NewFetcher(receiver.FetcherConfig{Dial: p.Dial, Roots: p.Roots})
	defer fetcher.Close()
	params := map[string]string{"email": "push@p.iam.gserviceaccount.com", "audience": "belay"}
	pubsub := source(t, receiver.SourceConfig{Receiver: "google-pubsub", Secrets: []receiver.Secret{}, Fetcher: fetcher, Params: params})
	// A source whose process has no keys yet, for the outage.
	late := source(t, receiver.SourceConfig{
		Receiver: "google-pubsub", ID: "late", Secrets: []receiver.Secret{}, Params: params,
		Fetcher: receiver.NewFetcher(receiver.FetcherConfig{Dial: p.Dial, Roots: p.Roots}),
	})
	netlify := source(t, receiver.SourceConfig{Receiver: "netlify"})
	sns := source(t, receiver.SourceConfig{Receiver: "aws-sns", Secrets: []receiver.Secret{}, Fetcher: fetcher, Params: map[string]string{"topic": "t"}})
	d := newDoor(t, pubsub, late, netlify, sns)

	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	google := func(audience string) *receiver.Source {
		return source(t, receiver.SourceConfig{Receiver: "google-pubsub", Secrets: []receiver.Secret{private}, Params: map[string]string{
			"email": "push@p.iam.gserviceaccount.com", "audience": audience,
		}})
	}
	const message = `{"message":{"data":"aGk=","messageId":"136969346945"},"subscription":"projects/p/subscriptions/s"}`
	push := func(path, audience string, at time.Time) *http.Request {
		t.Helper()
		r := plain(t, d.url+path, message)
		if _, err := google(audience).Sign(r, []byte(message), at); err != nil {
			t.Fatal(err)
		}
		return r
	}
	unsigned := plain(t, d.url+"/webhooks/google-pubsub", message)
	claims := strings.Split(push("/webhooks/google-pubsub", "belay", time.Now()).Header.Get("Authorization"), ".")[1]
	unsigned.Header.Set("Authorization", "Bearer "+base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))+"."+claims+".")

	p.SetDown(true)
	resp, _ := d.send(push("/webhooks/google-pubsub/late", "belay", time.Now()))
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the keys' server is down: status %d, header %v", resp.StatusCode, resp.Header)
	}
	if n := d.count("google-pubsub/late", "keys_unavailable"); n != 1 {
		t.Errorf("%v counted as keys_unavailable", n)
	}
	p.SetDown(false)

	changed := d.request(netlify, "/webhooks/netlify", `{"state":"ready"}`, nil)
	swapped := plain(t, d.url+"/webhooks/netlify", `{"state":"error"}`)
	swapped.Header = changed.Header.Clone()
	for _, test := range []struct {
		name   string
		r      *http.Request
		status int
	}{
		{"genuine", push("/webhooks/google-pubsub", "belay", time.Now()), http.StatusNoContent},
		{"another audience", push("/webhooks/google-pubsub", "other", time.Now()), http.StatusUnauthorized},
		{"ended", push("/webhooks/google-pubsub", "belay", time.Now().Add(-time.Hour)), http.StatusUnauthorized},
		{"alg none", unsigned, http.StatusUnauthorized},
		{"another body than the token's", swapped, http.StatusUnauthorized},
		{"a certificate of another host", plain(t, d.url+"/webhooks/aws-sns",
			`{"Type":"Notification","MessageId":"1","TopicArn":"t","Message":"m","Timestamp":"`+time.Now().UTC().Format(time.RFC3339)+
				`","SignatureVersion":"2","Signature":"AAAA","SigningCertURL":"https://sns.evil.example.com/SimpleNotificationService-1.pem"}`), http.StatusUnauthorized},
	} {
		if resp, body := d.send(test.r); resp.StatusCode != test.status {
			t.Errorf("%s: status %d, want %d: %s", test.name, resp.StatusCode, test.status, body)
		}
	}
	if n := d.storedCount(); n != 1 {
		t.Errorf("%d stored, want the genuine one", n)
	}
	e, _ := d.storedEvent(1)
	if e.ID != "136969346945" || e.Key != "projects/p/subscriptions/s" || string(e.Body) != message {
		t.Errorf("stored %+v", e)
	}
	if asked := p.Asked(); len(asked) != 1 || !strings.HasPrefix(asked[0], "GET www.googleapis.com/") {
		t.Errorf("asked %q, want the keys once", asked)
	}
}

// plain is a request that nobody signed.
func plain(tb testing.TB, url, body string) *http.Request {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	return r
}
