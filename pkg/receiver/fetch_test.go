package receiver

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
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

// certs is where Google's keys are.
const certs = "www.googleapis.com/oauth2/v3/certs"

// newFetcher gets everything from the provider of the test.
func newFetcher(tb testing.TB, p *testprovider.Provider) *Fetcher {
	f := NewFetcher(FetcherConfig{Dial: p.Dial, Roots: p.Roots})
	tb.Cleanup(f.Close)
	return f
}

// jwks is a set of public keys by their names.
func jwks(tb testing.TB, keys map[string]crypto.PublicKey) []byte {
	tb.Helper()
	var set []string
	for id, key := range keys {
		text, err := jose.JSONWebKey{Key: key, KeyID: id, Use: "sig"}.MarshalJSON()
		if err != nil {
			tb.Fatal(err)
		}
		set = append(set, string(text))
	}
	return fmt.Appendf(nil, `{"keys":[%s]}`, strings.Join(set, ","))
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// someKeys is the paper of the tests of the cache.
func someKeys(url string) paper {
	return paper{key: url, request: outgoing{method: "GET", url: url}, parse: parseJWKS}
}

func TestFetchIsCached(t *testing.T) {
	p := testprovider.New(t)
	f := newFetcher(t, p)
	set := jwks(t, map[string]crypto.PublicKey{"a": newKey(t).Public()})
	p.Handle("keys.example.com/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=600, must-revalidate")
		_, _ = w.Write(set)
	})
	get := func(at time.Duration, refresh bool) error {
		t.Helper()
		_, err := f.get(t.Context(), someKeys("https://keys.example.com/jwks"), now.Add(at), refresh)
		return err
	}
	for _, step := range []struct {
		name    string
		at      time.Duration
		refresh bool
		down    bool
		asked   int
		fails   bool
	}{
		{"the first", 0, false, false, 1, false},
		{"cached", 9 * time.Minute, false, false, 0, false},
		{"an unknown key makes it new", 9 * time.Minute, true, false, 1, false},
		{"but not twice in a minute", 9*time.Minute + 59*time.Second, true, false, 0, false},
		{"twice in two", 10*time.Minute + 1*time.Second, true, false, 1, false},
		{"too old", 21 * time.Minute, false, false, 1, false},
		{"too old, and the server fails", 40 * time.Minute, false, true, 1, false},
		{"the failure is remembered", 40*time.Minute + 9*time.Second, false, true, 0, false},
		{"a failure is no answer to an unknown key", 40*time.Minute + 9*time.Second, true, true, 0, true},
		{"the failure is tried again", 40*time.Minute + 11*time.Second, false, true, 1, false},
		{"stale for too long", 92 * time.Minute, false, true, 1, true},
		{"the server is back", 93 * time.Minute, false, false, 1, false},
	} {
		p.SetDown(step.down)
		err := get(step.at, step.refresh)
		if asked := len(p.Asked()); (err != nil) != step.fails || asked != step.asked {
			t.Errorf("%s: error %v, asked %d times, want %d", step.name, err, asked, step.asked)
		}
	}
}

// Many requests that need the same keys wait for one fetch, and one that has no
// time left does not end it.
func TestOneFetchForMany(t *testing.T) {
	p := testprovider.New(t)
	f := newFetcher(t, p)
	begun, goOn := make(chan struct{}), make(chan struct{})
	set := jwks(t, map[string]crypto.PublicKey{"a": newKey(t).Public()})
	p.Handle("keys.example.com/", func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-goOn
		_, _ = w.Write(set)
	})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := f.get(ctx, someKeys("https://keys.example.com/jwks"), now, false)
		first <- err
	}()
	<-begun
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Fatalf("the first: %v", err)
	}
	var others sync.WaitGroup
	for range 20 {
		others.Go(func() {
			if _, err := f.get(t.Context(), someKeys("https://keys.example.com/jwks"), now, false); err != nil {
				t.Error(err)
			}
		})
	}
	close(goOn)
	others.Wait()
	if asked := p.Asked(); len(asked) != 1 {
		t.Errorf("asked %q", asked)
	}
}

func TestFetchRefuses(t *testing.T) {
	p := testprovider.New(t)
	p.Handle("large.example.com/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat(" ", maxFetched+1))
	})
	p.Handle("elsewhere.example.com/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://evil.example.net/keys", http.StatusFound)
	})
	p.Handle("evil.example.net/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(jwks(t, map[string]crypto.PublicKey{"a": newKey(t).Public()}))
	})
	p.Handle("text.example.com/", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "no keys") })
	for name, test := range map[string]struct{ host, want string }{
		"too large":    {"large.example.com", "more than"},
		"a redirect":   {"elsewhere.example.com", "status 302"},
		"no such page": {"nobody.example.com", "status 404"},
		"no keys":      {"text.example.com", "set of keys"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newFetcher(t, p).get(t.Context(), someKeys("https://"+test.host+"/secret-path"), now, false)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret-path") {
				t.Errorf("error %v, want %q in it, and no path", err, test.want)
			}
		})
	}
	t.Run("a certificate of nobody", func(t *testing.T) {
		f := NewFetcher(FetcherConfig{Dial: p.Dial}) // the system does not know the authority
		defer f.Close()
		if _, err := f.get(t.Context(), someKeys("https://text.example.com/"), now, false); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("error %v", err)
		}
	})
	for _, asked := range p.Asked() {
		if strings.Contains(asked, "evil") {
			t.Errorf("a redirect was followed: %s", asked)
		}
	}
}

// Who makes up URLs neither fills the memory nor drives out what is good.
func TestCacheIsBounded(t *testing.T) {
	p := testprovider.New(t)
	f := newFetcher(t, p)
	set := jwks(t, map[string]crypto.PublicKey{"a": newKey(t).Public()})
	p.Handle("keys.example.com/good", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(set) })
	for i := range 2 * maxCached {
		if i == 0 {
			if _, err := f.get(t.Context(), someKeys("https://keys.example.com/good"), now, false); err != nil {
				t.Fatal(err)
			}
		}
		at := now.Add(time.Duration(i+1) * time.Second)
		if _, err := f.get(t.Context(), someKeys(fmt.Sprintf("https://keys.example.com/%d", i)), at, false); err == nil {
			t.Fatal("no error")
		}
	}
	if len(f.cached) != maxCached || f.cached["https://keys.example.com/good"] == nil {
		t.Errorf("%d documents, the good one %v", len(f.cached), f.cached["https://keys.example.com/good"])
	}
}

func TestURLPatterns(t *testing.T) {
	sns := "https://sns.*.amazonaws.com/SimpleNotificationService-*.pem"
	for _, test := range []struct {
		pattern, url string
		want         bool
	}{
		{sns, "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123abcd.pem", true},
		{sns, "http://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123abcd.pem", false},
		{sns, "https://sns.us-east-1.amazonaws.com:443/SimpleNotificationService-0123abcd.pem", false},
		{sns, "https://sns.us-east-1.amazonaws.com:8443/SimpleNotificationService-0123abcd.pem", false},
		{sns, "https://user@sns.us-east-1.amazonaws.com/SimpleNotificationService-0123abcd.pem", false},
		{sns, "https://sns.evil.s3.amazonaws.com/SimpleNotificationService-0123abcd.pem", false},
		{sns, "https://sns.us-east-1.amazonaws.com.evil.com/SimpleNotificationService-0123abcd.pem", false},
		{sns, "https://evil.com/sns.us-east-1.amazonaws.com/SimpleNotificationService-0123abcd.pem", false},
		{sns, "https://evil.com#sns.us-east-1.amazonaws.com/SimpleNotificationService-0123abcd.pem", false},
		{sns, "https://evil.com\\@sns.us-east-1.amazonaws.com/SimpleNotificationService-0123abcd.pem", false},
		{sns, "https://sns..amazonaws.com/SimpleNotificationService-0123abcd.pem", false},
		{sns, "https://sns.us-east-1.amazonaws.com/a/../SimpleNotificationService-0123abcd.pem", false},
		{sns, "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-%2e%2e.pem", false},
		{sns, "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123abcd.pem?x=1", false},
		{sns, "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123abcd.pem?", false},
		{sns, "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123abcd.pem#x", false},
		{sns, "https://127.0.0.1/SimpleNotificationService-0123abcd.pem", false},
		{"https://a.example.com/?*", "https://a.example.com/?Action=Confirm&Token=1", true},
		{"https://a.example.com/?*", "https://a.example.com/", true},
		{"https://a.example.com", "https://a.example.com", true},
		{"https://a.example.com/x", "https://a.example.com/x", true},
		{"https://a.example.com/*/x", "https://a.example.com/a/b/x", false},
	} {
		p, err := parseURLPattern(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.fits(test.url); got != test.want {
			t.Errorf("%s fits %s: %t", test.url, test.pattern, got)
		}
	}
	for _, bad := range []string{
		"http://a.example.com/", "https://127.0.0.1/", "https://[::1]/", "https://localhost/", "https://a.example.com:443/",
		"https://u@a.example.com/", "https://a.example.*/", "https://*/", "https://a.example.com/a/../b", "https://2130706433.1/", "",
	} {
		if _, err := parseURLPattern(bad); err == nil {
			t.Errorf("%s is taken for a pattern", bad)
		}
	}
}
