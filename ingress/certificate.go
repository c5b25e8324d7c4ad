package ingress

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// A certificate is read from two files, and again when they change: connections
// that are open keep what they were made with.
type certificate struct {
	files [2]string // certificates, key
	log   *slog.Logger

	mu      sync.Mutex
	checked time.Time
	seen    [2]os.FileInfo
	current *tls.Certificate
}

// newCertificate reads the files.
func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: [2]string{certFile, keyFile}, log: log, checked: time.Now()}
	c.changed()
	return c, c.read()
}

// config is the listener's TLS configuration.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

// get is called for every handshake. Files that cannot be used, such as a new
// certificate without its key, leave the one before in place.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= lookEvery {
		c.checked = now
		if c.changed() {
			if err := c.read(); err != nil {
				c.log.Warn("TLS certificate kept as it was", "error", err)
			} else {
				c.log.Info("TLS certificate read again", "not_after", c.current.Leaf.NotAfter)
			}
		}
	}
	return c.current, nil
}

// changed looks whether the files are other ones than at the last look. It is
// asked before they are read: what changes after is found by the next look.
func (c *certificate) changed() bool {
	changed := false
	for i, file := range c.files {
		info, err := os.Stat(file)
		if err != nil {
			info = nil // gone: in the middle of a replacement, or for good
		}
		if !sameFile(info, c.seen[i]) {
			c.seen[i], changed = info, true
		}
	}
	return changed
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (c *certificate) read() error {
	pair, err := tls.LoadX509KeyPair(c.files[0], c.files[1])
	if err != nil {
		return fmt.Errorf("read the TLS certificate %s and its key %s: %w", c.files[0], c.files[1], err)
	}
	c.current = &pair
	return nil
}
