// Package config reads what an operator writes: one YAML file for sources and
// chains, and the environment for addresses, the broker and limits. It is
// strict. A field it does not know, a value out of bounds and a name that
// stands for nothing are problems, each told with its line and with what would
// be right, all of them at once.
package config

import (
	"time"
)

// File is the configuration file. [Load] reads and validates it; one that was
// built by hand is taken as it is.
type File struct {
	// Generation orders configurations of one cluster: a worker never overwrites
	// what one with a higher generation set up. Raise it with a change of a
	// chain's from, events or start; 0 where nobody runs two versions at once.
	Generation int `yaml:"generation"`
	// Receivers are providers that the catalogue does not have, by name.
	Receivers map[string]*Declared `yaml:"receivers"`
	// Sources are the webhooks that are received.
	Sources []Source `yaml:"sources"`
	// Chains are what is done with them.
	Chains []Chain `yaml:"chains"`

	index  index
	path   string
	text   []byte
	others map[string][]byte // files that this one refers to; nil: could not be read
	told   map[string]bool   // paths that have a problem
	dev    bool
}

// Source is a receiver with an id and secrets of its own. It is served at
// /webhooks/<receiver> (id default) and /webhooks/<receiver>/<id>.
type Source struct {
	// Receiver is the provider's name in the catalogue, or an alias of it.
	Receiver string `yaml:"receiver"`
	// ID tells sources of one receiver apart. Default: "default".
	ID string `yaml:"id"`
	// Secrets are what the sender signs with. A signature by any one of them is
	// good, so that a secret can be rotated.
	Secrets []*Secret `yaml:"secrets"`
	// Tolerance is how far the timestamp of a request may be from now. 0: the
	// receiver's own.
	Tolerance Duration `yaml:"tolerance"`
	// Timeout is how long the sender waits for an answer, 1 to 15 s. What is not
	// stored by then is answered 503. 0: what is known of the receiver.
	Timeout Duration `yaml:"timeout"`
	// Params are what the receiver needs besides secrets.
	Params map[string]string `yaml:"params"`
	// Key is the template of the partition key. Empty: the receiver's default.
	Key string `yaml:"key"`
	// MaxBody is the largest body in bytes. 0: the receiver's default.
	MaxBody int64 `yaml:"max_body"`
	// MaxHeader is the largest size of a request's headers in bytes. 0: the
	// ingress's, 32 KiB.
	MaxHeader int64 `yaml:"max_header"`
	// RequireHTTPS says whether what was sent in the clear is refused. Absent: of
	// receivers whose senders send a secret as it is, except with serve --dev.
	RequireHTTPS *bool `yaml:"require_https"`
	// RateLimit bounds how many webhooks each ingress accepts. Nil: any number.
	RateLimit *RateLimit `yaml:"rate_limit"`
	// Answer lets a chain answer the sender. Nil: the receiver's success answer.
	Answer *Answer `yaml:"answer"`
	// Gone is what a chain's Response of status 410 does. "switch_off": the source
	// answers 410 until an operator resumes it. Empty: nothing more than any other.
	Gone string `yaml:"gone"`
}

// GoneSwitchesOff is the value of a source's gone that lets a chain switch it off.
const GoneSwitchesOff = "switch_off"

// RateLimit is how many webhooks of a source one ingress accepts.
type RateLimit struct {
	// PerSecond is how many in a second, in the long run. It may be a fraction.
	PerSecond float64 `yaml:"per_second"`
	// Burst is how many at once after a pause. 0: PerSecond, rounded up.
	Burst int `yaml:"burst"`
}

// Dev reports whether the file was read for trying out ([Options].Dev).
func (f *File) Dev() bool { return f.dev }

// Name is receiver/id: github/default.
func (s *Source) Name() string { return s.Receiver + "/" + s.ID }

// The defaults of the file's fields.
const (
	DefaultSourceID    = "default"
	DefaultTenant      = "default"
	DefaultStart       = "now"
	DefaultConcurrency = 64
	// DefaultMaxWaiting is how many events of an ordered chain may wait in a shard.
	DefaultMaxWaiting = 10_000
	// DefaultMaxWaitingBytes is how large they may be together.
	DefaultMaxWaitingBytes = 64 << 20
	DefaultHTTPTimeout     = 30 * time.Second
)

// DefaultRetry is the policy of a chain that names none, and the source of
// what one that names a part leaves out.
func DefaultRetry() Retry {
	return Retry{
		Attempts: 12,
		First:    Duration(time.Second),
		Factor:   2,
		Max:      Duration(time.Hour),
		Jitter:   0.2,
		GiveUp:   Duration(72 * time.Hour),
	}
}

// A defaulter is filled before the file's own values are put over it, so that
// a field that was left out and one that was set to zero stay apart.
type defaulter interface{ setDefaults() }

func (s *Source) setDefaults() { s.ID = DefaultSourceID }
func (h *HTTP) setDefaults()   { h.Timeout = Duration(DefaultHTTPTimeout) }
func (n *Notify) setDefaults() { n.Tenant = DefaultTenant }
func (l *Log) setDefaults()    { l.Level, l.Message = "info", "event" }
func (r *Retry) setDefaults()  { *r = DefaultRetry() }
func (c *Chain) setDefaults() {
	retry := DefaultRetry()
	c.Start, c.Concurrency, c.Retry = DefaultStart, DefaultConcurrency, &retry
	c.MaxWaiting, c.MaxWaitingBytes = DefaultMaxWaiting, DefaultMaxWaitingBytes
}
