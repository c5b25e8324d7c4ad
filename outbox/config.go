package outbox

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/seal"
)

// The limits of what the outbox takes in and sends out.
const (
	// maxSubscriptionBody: a subscription is a URL, some filters and a text.
	maxSubscriptionBody = 64 << 10
	// maxData is the largest body of a notification. With its attributes it fits
	// the broker's limit of 1 MiB a message.
	maxData = 512 << 10
	// maxNotificationBody is the largest request for a notification: data_base64
	// makes the data a third larger, JSON escapes can double it.
	maxNotificationBody = 2 << 20
	// maxInline is the largest body that travels with each of its deliveries.
	// A larger one stays in NOTIFY and deliveries refer to it.
	maxInline = 64 << 10
	// maxResponse is how much of a subscriber's answer is read and kept with the
	// attempt: enough for an error message.
	maxResponse = 16 << 10
	// maxResponseHeader bounds the head of a subscriber's answer.
	maxResponseHeader = 64 << 10
	// maxChunk is how many deliveries of a notification are written to a shard
	// between two cursors: after a crash so many are looked for one by one.
	maxChunk = 100
	// maxRetryAfter bounds how long a subscriber may put us off for.
	maxRetryAfter = 24 * time.Hour
	// jitter spreads retries: up to this part of the wait is added to it.
	jitter = 0.2
)

// DefaultSchedule is how long to wait after the first, the second, … attempt
// that failed: the first attempt is made at once, the eighth is the last and
// comes about 27.6 hours later. It is the example of the Standard Webhooks
// specification without its last steps.
func DefaultSchedule() []time.Duration {
	return []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
		5 * time.Hour, 10 * time.Hour, 10 * time.Hour,
	}
}

// Config says how an outbox works. The zero value of a field is its default.
type Config struct {
	// Addr is where the REST API listens. Default :8081.
	Addr string
	// APIKeys are the bearer keys of the API, each written "key" (tenant
	// "default") or "tenant=key". Without any, every call is refused.
	APIKeys []string
	// Dev allows plain http and loopback addresses in subscriptions.
	Dev bool
	// AllowHTTP allows plain http in subscriptions.
	AllowHTTP bool
	// AllowNetworks are private networks that subscriptions may point into.
	AllowNetworks []netip.Prefix
	// RootCAs are the authorities whose certificates of subscribers are trusted; nil
	// for the system's.
	RootCAs *x509.CertPool
	// Proxy is what requests are made through, http:// or https://; nil for none.
	// Names are resolved by the proxy then, so it has to keep requests from where
	// they must not go: the address policy sees addresses in URLs only.
	Proxy *url.URL
	// Schedule is how long to wait after each failed attempt; one attempt more
	// than it has entries is made. Default [DefaultSchedule].
	Schedule []time.Duration
	// Timeout bounds one attempt, from the connection to the end of the answer.
	// Default 15 s.
	Timeout time.Duration
	// Attempts is how many attempts run at once. Default 1024: an attempt at an
	// endpoint that hangs costs some memory and a connection, and nothing else.
	Attempts int
	// Concurrency is how many attempts of a subscription run at once that does
	// not say so itself. Default 16.
	Concurrency int
	// DisableAfter disables a subscription of which every attempt has failed for so
	// long. 0: none is.
	DisableAfter time.Duration
	// MaxParked is how many bytes of deliveries may stand in the log. Above it no
	// notification is fanned out, and the API refuses more. Default 8 GiB.
	MaxParked int64
	// Lease is how long a process that has died keeps its subscriptions from the
	// others. Default 15 s.
	Lease time.Duration
	// Grace is how long running attempts may take to end when the outbox stops;
	// what is not ended is given back, and made again elsewhere. Default 10 s.
	Grace time.Duration
	// Keyset encrypts the secrets of subscriptions where they are stored. Without one
	// they are stored in the clear.
	Keyset *seal.Box
	// VerifyURLs asks each new URL whether its owner wants webhooks.
	VerifyURLs bool
	// MaxSubscriptionBytes bounds what the subscriptions take, as they are stored;
	// in memory it is about twice as much. Above it no more are made. Default 512 MiB.
	MaxSubscriptionBytes int
	// UserAgent of the requests. Default Belay.
	UserAgent string

	// chunk is the number of deliveries between two cursors; tests make it small.
	chunk int
}

func (c Config) withDefaults() Config {
	if c.Addr == "" {
		c.Addr = ":8081"
	}
	if c.Schedule == nil {
		c.Schedule = DefaultSchedule()
	}
	if c.Timeout == 0 {
		c.Timeout = 15 * time.Second
	}
	if c.Attempts == 0 {
		c.Attempts = 1024
	}
	if c.Concurrency == 0 {
		c.Concurrency = 16
	}
	if c.MaxParked == 0 {
		c.MaxParked = 8 << 30
	}
	if c.Grace == 0 {
		c.Grace = 10 * time.Second
	}
	if c.MaxSubscriptionBytes == 0 {
		c.MaxSubscriptionBytes = 512 << 20
	}
	if c.UserAgent == "" {
		c.UserAgent = "Belay"
	}
	if c.chunk == 0 {
		c.chunk = maxChunk
	}
	return c
}

// defaultTenant is the tenant of a key that names none.
const defaultTenant = "default"

// Validate names the first field that cannot be used, and what would be right.
func (c Config) Validate() error {
	for i, wait := range c.Schedule {
		if wait < 0 {
			return fmt.Errorf("outbox: schedule[%d] is %s; want 0 or more", i, wait)
		}
	}
	switch {
	case c.Proxy != nil && (c.Proxy.Scheme != "http" && c.Proxy.Scheme != "https" || c.Proxy.Host == ""):
		return errors.New("outbox: the proxy is no URL like http://proxy.example:3128")
	case c.Timeout < 0:
		return fmt.Errorf("outbox: timeout is %s; want more than 0", c.Timeout)
	case c.Attempts < 0:
		return fmt.Errorf("outbox: attempts is %d; want 1 or more", c.Attempts)
	case c.Concurrency < 0:
		return fmt.Errorf("outbox: concurrency is %d; want 1 or more", c.Concurrency)
	case c.DisableAfter < 0:
		return fmt.Errorf("outbox: disable after is %s; want 0 or more", c.DisableAfter)
	case c.MaxParked < 0:
		return fmt.Errorf("outbox: max parked is %d; want more than 0", c.MaxParked)
	case c.Lease < 0:
		return fmt.Errorf("outbox: lease is %s; want more than 0", c.Lease)
	case c.Grace < 0:
		return fmt.Errorf("outbox: grace is %s; want more than 0", c.Grace)
	case !validHeaderText(c.UserAgent):
		return fmt.Errorf("outbox: user agent is %q; want printable ASCII", c.UserAgent)
	}
	if _, err := rest.ParseKeys(c.APIKeys, defaultTenant); err != nil {
		return fmt.Errorf("outbox: BELAY_API_KEYS: %w", err)
	}
	return nil
}

func validHeaderText(s string) bool {
	for _, b := range []byte(s) {
		if b < ' ' || b > '~' {
			return false
		}
	}
	return true
}
