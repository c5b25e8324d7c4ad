package outbox

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/belay-hooks/belay/internal/program"
	"github.com/belay-hooks/belay/pkg/config"
)

// FromEnv is what the environment says of an outbox. It fails if the proxy is no URL
// or the keys or authorities cannot be read.
func FromEnv(env config.OutboxEnv) (c Config, err error) {
	keys, err := program.Keys(env.APIKeys)
	if err != nil {
		return c, err
	}
	c = Config{
		Addr: env.OutboxAddr, APIKeys: keys, VerifyURLs: env.VerifyURLs,
		MaxSubscriptionBytes: env.MaxSubscriptionBytes, AllowHTTP: env.AllowHTTP, AllowNetworks: env.AllowNetworks,
		Attempts: env.OutboxAttempts, DisableAfter: env.DisableAfter,
	}
	if env.OutboxProxy != "" {
		if c.Proxy, err = url.Parse(string(env.OutboxProxy)); err != nil {
			// The text may hold a password.
			return c, errors.New("BELAY_OUTBOX_PROXY is no URL like http://proxy.example:3128")
		}
	}
	if env.OutboxCA != "" {
		c.RootCAs, err = authorities(env.OutboxCA)
	}
	return c, err
}

// authorities are those of the system and those of a file.
func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("BELAY_OUTBOX_CA: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the authorities of the system: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("BELAY_OUTBOX_CA: %s holds no certificate in PEM form", file)
	}
	return pool, nil
}
