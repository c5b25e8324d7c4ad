package webhook_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/webhook"
)

// A subscriber verifies what arrives before it reads it.
func ExampleVerify() {
	secret, err := webhook.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		fmt.Println(err)
		return
	}
	endpoint := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "unreadable body", http.StatusBadRequest)
			return
		}
		if err := webhook.Verify(r.Header, body, time.Now(), webhook.Tolerance, secret); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}

	signed := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"hello":"world"}`))
	if err := webhook.Sign(signed.Header, "msg_1", time.Now(), []byte(`{"hello":"world"}`), secret); err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range []*http.Request{signed, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))} {
		answer := httptest.NewRecorder()
		endpoint(answer, r)
		fmt.Println(answer.Code)
	}
	// Output:
	// 204
	// 401
}

// While a secret is replaced, a webhook carries a signature by each of the two.
func ExampleSign() {
	older, newer := webhook.NewSecret(), webhook.NewSecret()
	header := http.Header{}
	if err := webhook.Sign(header, "msg_1", time.Now(), []byte("body"), newer, older); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(webhook.Verify(header, []byte("body"), time.Now(), webhook.Tolerance, older))
	err := webhook.Verify(header, []byte("forged"), time.Now(), webhook.Tolerance, newer)
	fmt.Println(errors.Is(err, webhook.ErrSignatureWrong))
	// Output:
	// <nil>
	// true
}

// A sender with a private key: subscribers keep no secret, only its public half.
func ExamplePrivateKey() {
	key := webhook.NewPrivateKey()
	header, body := http.Header{}, []byte(`{"hello":"world"}`)
	if err := webhook.Sign(header, "msg_1", time.Now(), body, key); err != nil {
		fmt.Println(err)
		return
	}
	public, err := webhook.ParsePublicKey(key.Public().String())
	fmt.Println(err, webhook.Verify(header, body, time.Now(), webhook.Tolerance, public))
	// Output: <nil> <nil>
}
