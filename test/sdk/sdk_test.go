// Package sdk compares Belay with the SDKs that the providers publish: what belay
// send signs must pass an SDK's verifier, and what an SDK signs must pass Belay's.
// It is a module of its own, so that nobody who uses Belay gets the SDKs.
package sdk

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/receiver/samples"
)

// A request is a webhook as a server gets it.
type request struct {
	receiver    string
	method, url string
	header      http.Header
	body        []byte
}

// http is the request as a handler of net/http gets it.
func (q request) http() *http.Request {
	r := httptest.NewRequest(q.method, q.url, bytes.NewReader(q.body))
	r.Header = q.header.Clone()
	return r
}

// An sdk is a provider's library, and the receivers that it is for.
type sdk struct {
	name, version string
	receivers     []string
	// verify says why a request is not genuine.
	verify func(q request, secret string) error
	// sign sets the headers of the signature, or the body with it; nil where the SDK
	// cannot sign.
	sign func(q *request, secret string) error
}

func (s sdk) String() string { return s.name + "@" + s.version }

// bodyUnsigned are receivers whose signature does not cover the body.
// Of Adyen's only some values are signed: see TestBelayAcceptsWhatAdyenSigns.
var bodyUnsigned = []string{"adyen", "chargebee", "dropbox-sign", "mailgun"}

type text string

func (s text) Value() (string, error) { return string(s), nil }

// secrets are what Belay signs with, and what the receiving side has: of a key
// pair the public key.
func secrets(t *testing.T, slug string) (signing, verifying string) {
	t.Helper()
	r, ok := receiver.Lookup(slug)
	if !ok {
		t.Fatalf("no receiver is called %s", slug)
	}
	signing, err := samples.Secret(r)
	if err != nil {
		t.Fatal(err)
	}
	switch r.Signatures[0].Algorithm {
	case "ed25519":
		private, err := hex.DecodeString(signing)
		if err != nil {
			t.Fatal(err)
		}
		return signing, hex.EncodeToString(ed25519.PrivateKey(private).Public().(ed25519.PublicKey))
	case "ecdsa-sha256":
		der, err := base64.StdEncoding.DecodeString(signing)
		if err != nil {
			t.Fatal(err)
		}
		return signing, publicKey(t, der)
	}
	return signing, signing
}

// publicKey is the public key of a private one, in base64.
func publicKey(t *testing.T, private []byte) string {
	t.Helper()
	key, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.(crypto.Signer).Public())
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// other is another secret of the same form.
func other(secret string) string {
	i := len(secret) / 2
	c := byte('A')
	switch {
	case secret[i] == '1':
		c = '2'
	case secret[i] >= '0' && secret[i] <= '9' || secret[i] >= 'a' && secret[i] <= 'f':
		c = '1'
	case secret[i] == 'A':
		c = 'B'
	}
	return secret[:i] + string(c) + secret[i+1:]
}

// build builds cmd/belay.
func build(t *testing.T) string {
	t.Helper()
	belay := filepath.Join(t.TempDir(), "belay")
	cmd := exec.Command("go", "build", "-o", belay, "./cmd/belay")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build belay: %v\n%s", err, out)
	}
	return belay
}

// A sender runs belay send, and catches what it sends.
type sender struct {
	belay  string
	server *httptest.Server
	caught chan request
}

func newSender(t *testing.T) *sender {
	s := &sender{belay: build(t), caught: make(chan request, 1)}
	s.server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s.caught <- request{method: r.Method, url: s.server.URL + r.URL.RequestURI(), header: r.Header, body: body}
	}))
	t.Cleanup(s.server.Close)
	return s
}

func (s *sender) send(t *testing.T, sample *samples.Sample, secret string) request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.belay, "send", sample.Receiver, sample.Event, "--secret", secret, "--url", s.server.URL+"/webhooks/"+sample.Receiver)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("belay send: %v\n%s", err, out)
	}
	q := <-s.caught
	q.receiver = sample.Receiver
	return q
}

// all are the SDKs of Go and of npm.
func all(t *testing.T) []sdk {
	t.Helper()
	return append(goSDKs(t), startNode(t).sdks...)
}

// What belay send signs passes the verifier of each SDK, which refuses it with
// another secret and with another body.
func TestSDKsAcceptWhatBelaySends(t *testing.T) {
	belay := newSender(t)
	for _, s := range all(t) {
		for _, slug := range s.receivers {
			signing, verifying := secrets(t, slug)
			for _, sample := range samples.Of(slug) {
				t.Run(s.name+"/"+slug+"/"+sample.Event, func(t *testing.T) {
					q := belay.send(t, sample, signing)
					if err := s.verify(q, verifying); err != nil {
						t.Fatalf("%s refuses it: %v\n%v\n%s", s, err, q.header, q.body)
					}
					if err := s.verify(q, other(verifying)); err == nil {
						t.Errorf("%s accepts it with another secret", s)
					}
					if slices.Contains(bodyUnsigned, slug) || len(q.body) == 0 {
						return
					}
					changed := q
					changed.body = slices.Clone(q.body)
					changed.body[len(q.body)/2] ^= 1
					if err := s.verify(changed, verifying); err == nil {
						t.Errorf("%s accepts it with another body", s)
					}
				})
			}
		}
	}
}

// What the signer of an SDK signs is accepted by Belay, and is the event that the
// sample promises.
func TestBelayAcceptsWhatSDKsSign(t *testing.T) {
	for _, s := range all(t) {
		if s.sign == nil {
			continue
		}
		for _, slug := range s.receivers {
			_, verifying := secrets(t, slug)
			source := newSource(t, slug, verifying)
			for _, sample := range samples.Of(slug) {
				t.Run(s.name+"/"+slug+"/"+sample.Event, func(t *testing.T) {
					unsigned, body, err := sample.Request(t.Context(), "https://hooks.example.com/webhooks/"+slug, "", time.Now())
					if err != nil {
						t.Fatal(err)
					}
					q := request{slug, unsigned.Method, unsigned.URL.String(), unsigned.Header, body}
					if err := s.sign(&q, verifying); err != nil {
						t.Fatal(err)
					}
					got, err := source.Receive(q.http(), q.body, time.Now())
					if err != nil {
						t.Fatalf("Belay refuses what %s signed: %v\n%v", s, err, q.header)
					}
					if sample.Unstored != (got.Event == nil) || got.Event != nil && got.Event.Type != sample.Type {
						t.Errorf("it is %v, want %s", got.Event, sample.Type)
					}
					q.body = append(q.body, ' ')
					if _, err := source.Receive(q.http(), q.body, time.Now()); err == nil && !slices.Contains(bodyUnsigned, slug) {
						t.Error("Belay accepts it with another body")
					}
				})
			}
		}
	}
}

func newSource(t *testing.T, slug, secret string) *receiver.Source {
	t.Helper()
	s, err := receiver.NewSource(receiver.SourceConfig{Receiver: slug, Secrets: []receiver.Secret{text(secret)}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// no is the error of verifiers that only say yes or no.
func no(ok bool, err error) error {
	if err == nil && !ok {
		return fmt.Errorf("it said no")
	}
	return err
}

// flat is a header with one value a name, in lower case, as Node has it.
func flat(h http.Header) map[string]string {
	m := make(map[string]string, len(h))
	for name, values := range h {
		m[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return m
}
