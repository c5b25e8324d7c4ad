package ceiling_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/internal/ceiling"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/stream"
)

// A ceiling that cut corners would be no ceiling: it verifies, and stores once.
func TestHTTPWithHMACAndPublish(t *testing.T) {
	server := testbroker.Start(t)
	broker := server.Connect()
	if err := broker.Migrate(t.Context(), stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	publisher, err := ceiling.Connect(server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	const body, subject = `{"a":1}`, "belay.in.0.github.default.push"
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write([]byte(body))
	good := hex.EncodeToString(mac.Sum(nil))

	h := ceiling.HTTPWithHMACAndPublish([]byte("secret"), publisher, subject)
	for _, c := range []struct {
		signature string
		status    int
	}{
		{good, http.StatusAccepted}, {good, http.StatusAccepted}, {strings.Repeat("0", 64), http.StatusUnauthorized}, {"", http.StatusUnauthorized},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("X-GitHub-Delivery", "one")
		r.Header.Set("X-Hub-Signature-256", "sha256="+c.signature)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("signature %q: status %d, want %d: %s", c.signature, w.Code, c.status, w.Body)
		}
	}
	if m, err := broker.Last(t.Context(), stream.In(0), subject); err != nil || m.Seq != 1 || string(m.Data) != body {
		t.Errorf("stored %+v, %v; want the body once", m, err)
	}
}
