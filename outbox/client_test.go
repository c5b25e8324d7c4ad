package outbox

import (
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
)

// send makes one attempt with a client of its own configuration.
func send(t *testing.T, c *client, url string) answer {
	t.Helper()
	d := &delivery{id: "msg_1", attempt: 1, event: &event.Event{ID: "n", Source: "/s", Type: "t", To: url}}
	return c.post(t.Context(), d, &Subscription{URL: url}, []byte("1"), time.Now())
}

// A certificate of an authority that is named is trusted, HTTP/2 is spoken, and the
// connection is used again.
func TestHTTP2OverOneConnection(t *testing.T) {
	t.Parallel()
	from := make(chan string, 5)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from <- r.RemoteAddr
		w.Header().Set("Proto", r.Proto)
		_, _ = io.WriteString(w, strings.Repeat("x", 1000))
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := newClient(Config{Dev: true, RootCAs: roots}.withDefaults())
	defer c.close()
	connections := map[string]bool{}
	for range 5 {
		if a := send(t, c, s.URL); a.status != http.StatusOK || a.header.Get("Proto") != "HTTP/2.0" {
			t.Fatalf("got %+v", a)
		}
		connections[<-from] = true
	}
	if len(connections) != 1 {
		t.Errorf("%d connections were made", len(connections))
	}
}

// A proxy that is named is used, wherever it is, and addresses in URLs are still
// judged.
func TestProxy(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.URL.String()
		w.WriteHeader(http.StatusAccepted)
	}))
	defer proxy.Close()
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	config := Config{AllowHTTP: true, Proxy: u}.withDefaults()
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	c := newClient(config)
	defer c.close()
	if a := send(t, c, "http://subscriber.invalid/hook"); a.status != http.StatusAccepted {
		t.Fatalf("got %+v", a)
	}
	if got := <-seen; got != "http://subscriber.invalid/hook" {
		t.Errorf("the proxy was asked for %s", got)
	}
	if badURL("http://169.254.169.254/", config.addressPolicy()) == "" {
		t.Error("the metadata service can be subscribed")
	}
	config.Proxy = &url.URL{Scheme: "socks4", Host: "x"}
	if err := config.Validate(); err == nil {
		t.Error("a proxy of another kind is taken")
	}
}

// A subscription's 429 with Retry-After keeps all of its deliveries away, and an
// outcome says of the endpoint what its status says.
func TestEndOf(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for status, want := range map[int]ended{
		200: {served: true}, 301: {served: true}, 404: {served: true}, 410: {served: true},
		429: {putOff: time.Minute}, 503: {putOff: time.Minute}, 500: {}, 502: {},
	} {
		if got := endOf(outcome{status: status, retryAfter: "60"}, now); got != want {
			t.Errorf("%s: %+v, want %+v", strconv.Itoa(status), got, want)
		}
	}
	if got := endOf(outcome{reason: ReasonTimeout}, now); got != (ended{}) {
		t.Errorf("time-out: %+v", got)
	}
}
