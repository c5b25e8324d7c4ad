package receiver

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestMiddleware(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "stripe", MaxBody: 100})
	locked := newSource(t, SourceConfig{Receiver: "stripe", Secrets: []Secret{broken{}}})
	server := func(s *Source) string {
		srv := httptest.NewServer(Middleware(s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
		})))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	for name, test := range map[string]struct {
		url    string
		body   string
		forge  bool
		status int
	}{
		"genuine":           {server(s), `{"id":"evt_1"}`, false, 200},
		"forged":            {server(s), `{"id":"evt_1"}`, true, 401},
		"too large":         {server(s), strings.Repeat("x", 101), false, 413},
		"unreadable secret": {server(locked), `{"id":"evt_1"}`, false, 503},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, test.url, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Sign(r, []byte(test.body), time.Now()); err != nil {
				t.Fatal(err)
			}
			if test.forge {
				r.Header.Set("Stripe-Signature", r.Header.Get("Stripe-Signature")+"0")
			}
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != test.status {
				t.Fatalf("status %d, %v", resp.StatusCode, err)
			}
			if test.status == 200 && string(body) != test.body || bytes.Contains(body, []byte("signature")) {
				t.Errorf("body %q", body)
			}
		})
	}
}
