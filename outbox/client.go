package outbox

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// client is the one door out: every request to a subscriber is made here. It has no
// [http.Client], which follows redirects and keeps cookies: neither is wanted.
type client struct {
	transport *http.Transport
	timeout   time.Duration
	userAgent string
}

// The parts of an attempt's time, and of the connections that are kept.
const (
	dialTimeout     = 5 * time.Second
	tlsTimeout      = 5 * time.Second
	idleConnTimeout = 90 * time.Second
	idleConns       = 1024
	// Many subscriptions can be at one host: their connections are kept too.
	idleConnsHost = idleConns
	// A request of the usual size leaves in one write, its head and its body together.
	writeBuffer = 16 << 10
)

func newClient(c Config) *client {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	// No proxy from the environment: somebody has to say that it keeps requests
	// from where they must not go.
	var proxy func(*http.Request) (*url.URL, error)
	if c.Proxy == nil {
		dialer.Control = c.addressPolicy().control
	} else {
		proxy = http.ProxyURL(c.Proxy)
	}
	return &client{
		timeout:   c.Timeout,
		userAgent: c.UserAgent,
		transport: &http.Transport{
			Proxy:                  proxy,
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    tlsTimeout,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.RootCAs},
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           idleConns,
			MaxIdleConnsPerHost:    idleConnsHost,
			IdleConnTimeout:        idleConnTimeout,
			MaxResponseHeaderBytes: maxResponseHeader,
			WriteBufferSize:        writeBuffer,
			// A compressed answer could be a thousand times as large as it looks.
			DisableCompression: true,
		},
	}
}

func (c *client) close() { c.transport.CloseIdleConnections() }

// answer is what a subscriber said, or why it said nothing.
type answer struct {
	outcome
	detail    string      // the error in words
	sent      http.Header // without secrets; nil: no request was made
	header    http.Header
	body      []byte // its first maxResponse bytes
	truncated bool
}

// post makes one attempt: it writes the request as the subscription wants it, signs
// it and sends it.
func (c *client) post(ctx context.Context, d *delivery, s *Subscription, data []byte, now time.Time) answer {
	timeout := c.timeout
	if s.Timeout != 0 {
		timeout = time.Duration(s.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	header := http.Header{"User-Agent": {c.userAgent}}
	body, err := s.fill(header, d, data, now)
	if err != nil {
		return failed(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(body))
	if err != nil {
		return failed(err)
	}
	r.Header = header
	sent := s.withoutSecrets(header)
	response, err := c.transport.RoundTrip(r)
	if err != nil {
		a := failed(err)
		a.sent = sent
		return a
	}
	defer response.Body.Close()
	a := answer{
		outcome: outcome{status: response.StatusCode, retryAfter: response.Header.Get("Retry-After")},
		sent:    sent,
		header:  response.Header,
	}
	// The status decides. An answer that breaks off has still been given.
	a.body, _ = io.ReadAll(io.LimitReader(response.Body, maxResponse+1))
	if len(a.body) > maxResponse {
		a.body, a.truncated = a.body[:maxResponse], true
	}
	return a
}

// failed is the answer of a request that got none.
func failed(err error) answer {
	return answer{outcome: outcome{reason: reasonOfError(err)}, detail: detailOf(err)}
}

func reasonOfError(err error) Reason {
	var (
		dns         *net.DNSError
		timeout     net.Error
		verify      *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
		unknown     x509.UnknownAuthorityError
		host        x509.HostnameError
		certificate x509.CertificateInvalidError
	)
	switch {
	case errors.Is(err, errAddress):
		return ReasonAddress
	case errors.As(err, &dns):
		return ReasonDNS
	case errors.As(err, &verify), errors.As(err, &record), errors.As(err, &alert),
		errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &certificate):
		return ReasonTLS
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return ReasonTimeout
	}
	return ReasonConnection
}

// detailOf is the error without the method and the URL that the client puts
// before it: a URL can hold a subscriber's token.
func detailOf(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err.Error()
	}
	return err.Error()
}
