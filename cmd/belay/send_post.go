package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// sendTimeout bounds one request. It is longer than any sender waits.
	sendTimeout = 60 * time.Second
	// maxAnswer bounds what is shown of an answer.
	maxAnswer = 64 << 10
)

// answer is what came back for one webhook.
type answer struct {
	URL       string  `json:"url"`
	Status    int     `json:"status"`
	EventID   string  `json:"event_id,omitempty"`
	Duplicate bool    `json:"duplicate"`
	Body      string  `json:"body,omitempty"`
	Millis    float64 `json:"milliseconds"`
}

func (a *answer) ok() bool { return a.Status >= 200 && a.Status < 300 }

// newClient makes the client, which trusts the certificates of a file, or those
// that the system trusts.
func newClient(ca string) (*http.Client, error) {
	transport := &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca: %s holds no certificate in PEM", ca)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// post makes one request and sends it. The size is that of its body.
func (c *sendCmd) post(ctx context.Context, next newRequest) (a *answer, size int, err error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	r, body, err := next(ctx)
	if err != nil {
		return nil, 0, &exitError{err, exitUsage}
	}
	a, err = do(c.client, r)
	return a, len(body), err
}

// do sends the request and reads the answer.
func do(client *http.Client, r *http.Request) (*answer, error) {
	began := time.Now()
	resp, err := client.Do(r)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, fmt.Errorf("no answer from %s: %w; is belay serve --dev running, or is it another --url?", r.URL.Redacted(), err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer of %s broke off: %w", r.URL.Redacted(), err)
	}
	return &answer{
		URL:       r.URL.Redacted(),
		Status:    resp.StatusCode,
		EventID:   resp.Header.Get("Belay-Event-Id"),
		Duplicate: resp.Header.Get("Belay-Duplicate") == "true",
		Body:      strings.TrimSpace(string(body)),
		Millis:    float64(time.Since(began).Microseconds()) / 1000,
	}, nil
}
