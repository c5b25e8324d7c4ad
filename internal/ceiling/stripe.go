package ceiling

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"
)

// StripeWithHMACAndPublish is [HTTPWithHMACAndPublish] for webhooks that are
// signed and numbered as Stripe does: t=…,v1=… over time and body, and the id in
// the body.
func StripeWithHMACAndPublish(secret []byte, p *Publisher, subject string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := verifiedAsStripe(w, r, secret)
		if !ok {
			return
		}
		if err := p.publishAsync(r.Context(), subject, gjson.GetBytes(body, "id").Str, body); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
}

// StripeWithHMAC is [HTTPWithHMAC] for webhooks that are signed as Stripe does.
func StripeWithHMAC(secret []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := verifiedAsStripe(w, r, secret); ok {
			w.WriteHeader(http.StatusAccepted)
		}
	})
}

func verifiedAsStripe(w http.ResponseWriter, r *http.Request, secret []byte) ([]byte, bool) {
	body, ok := read(w, r)
	if !ok {
		return nil, false
	}
	t, v1, _ := strings.Cut(r.Header.Get("Stripe-Signature"), ",v1=")
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(strings.TrimPrefix(t, "t=") + "."))
	mac.Write(body)
	given, err := hex.DecodeString(v1)
	if err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		http.Error(w, "wrong signature", http.StatusUnauthorized)
		return nil, false
	}
	return body, true
}
