package receiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
)

const (
	// fetchTimeout bounds one fetch. It goes on for those who come later when the
	// request that began it has no time left.
	fetchTimeout = 10 * time.Second
	// maxFetches bounds the fetches of keys at one time. One more is not made.
	maxFetches = 64
	// maxQuestions bounds the questions of one source at one time: whether requests
	// are genuine. Anybody can make us ask.
	maxQuestions = 16
	// maxFetched bounds in bytes what is fetched: sets of keys have a few kB.
	maxFetched = 1 << 20
	// maxCached bounds the documents in the cache. A receiver has one to three.
	maxCached = 256
	// minFresh and maxFresh bound how long a document is taken for new, whatever
	// its server says; unknownFresh is for servers that say nothing.
	minFresh, unknownFresh, maxFresh = 5 * time.Minute, time.Hour, 24 * time.Hour
	// staleFor is how long an old document is good while its server fails. A key
	// that was withdrawn is trusted this much longer at most.
	staleFor = time.Hour
	// retryAfterFailure is how long a failed fetch is not tried again.
	retryAfterFailure = 10 * time.Second
	// refreshAfter is how old a set of keys must be for an unknown key to make us
	// fetch it again.
	refreshAfter = time.Minute
)

// FetcherConfig is what a [Fetcher] can be given; all of it may be left out.
type FetcherConfig struct {
	// Dial connects to a host:port. Default: that of [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Roots are the certificate authorities that vouch for hosts, and for the
	// certificates of senders. Default: those of the system.
	Roots *x509.CertPool
}

// Fetcher gets what receivers need from providers: sets of keys, certificates,
// and their word on a request. What it may fetch stands in the receiver's file:
// over TLS, from hosts on the default port, and no redirect is followed. Keys and
// certificates are kept for the time that their server says, within bounds; all
// sources of a process share one, so that they fetch nothing twice. It is safe
// for use by several goroutines.
type Fetcher struct {
	client  *http.Client
	roots   *x509.CertPool
	slots   *semaphore.Weighted
	flights singleflight.Group

	mu     sync.Mutex
	cached map[string]*fetched
}

// fetched is a document in the cache: what came of the last attempt, and the
// last good one before it.
type fetched struct {
	value any       // parsed; nil: there was no good attempt
	until time.Time // when it is no longer new
	tried time.Time
	used  time.Time
	err   error // of the last attempt
}

// NewFetcher makes a fetcher.
func NewFetcher(c FetcherConfig) *Fetcher {
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: fetchTimeout / 2}).DialContext
	}
	return &Fetcher{
		client: &http.Client{
			Transport: &http.Transport{
				DialContext:            c.Dial,
				TLSClientConfig:        &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
				TLSHandshakeTimeout:    fetchTimeout / 2,
				ResponseHeaderTimeout:  fetchTimeout,
				MaxResponseHeaderBytes: 64 << 10,
				MaxConnsPerHost:        16,
				MaxIdleConnsPerHost:    4,
				IdleConnTimeout:        time.Minute,
				ForceAttemptHTTP2:      true,
			},
			// Another URL would need the same checks; no provider redirects.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       fetchTimeout,
		},
		roots:  c.Roots,
		slots:  semaphore.NewWeighted(maxFetches),
		cached: map[string]*fetched{},
	}
}

// Close closes the idle connections.
func (f *Fetcher) Close() { f.client.CloseIdleConnections() }

// An outgoing is a request that we make of a provider. Its URL has been checked.
type outgoing struct {
	method, url string
	header      http.Header
	body        []byte
	user        *url.Userinfo // basic authentication; nil: none
}

// key is the name in the cache of what comes of it, read in this way. All that is
// asked counts: a server may give each who asks his own keys.
func (o outgoing) key(reading string) string {
	sum := sha256.New()
	_ = o.header.Write(sum) // a hash never fails
	_, _ = fmt.Fprintf(sum, "%q %s", o.user, o.body)
	return fmt.Sprintf("%s %s %s %x", o.method, o.url, reading, sum.Sum(nil))
}

// A reply is what the provider answered.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// do makes a request. The error does not hold what the URL asks for, its query,
// nor anything that was sent.
func (f *Fetcher) do(ctx context.Context, o outgoing) (*reply, error) {
	r, err := http.NewRequestWithContext(ctx, o.method, o.url, bytes.NewReader(o.body))
	if err != nil {
		return nil, fmt.Errorf("the URL is none")
	}
	for name, values := range o.header {
		r.Header[name] = values
	}
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", "Belay")
	}
	if o.user != nil {
		password, _ := o.user.Password()
		r.SetBasicAuth(o.user.Username(), password)
	}
	answer, err := f.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", o.method, r.URL.Host, cause(err))
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxFetched+1))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", o.method, r.URL.Host, err)
	}
	if len(body) > maxFetched {
		return nil, fmt.Errorf("%s %s: more than %d bytes", o.method, r.URL.Host, maxFetched)
	}
	return &reply{answer.StatusCode, answer.Header, body}, nil
}

// cause is the error without the URL, which may hold what is private.
func cause(err error) error {
	if wrapped, ok := err.(*url.Error); ok { //nolint:errorlint // the client always wraps once
		return wrapped.Err
	}
	return err
}
