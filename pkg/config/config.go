// Package config reads what an operator writes: one YAML file for sources and
// chains, and the environment for addresses, the broker and limits. It is
// strict. A field it does not know, a value out of bounds and a name that
// stands for nothing are problems, each told with its line and with what would
// be right, all of them at once.
package config

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
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

// Selects reports whether the chain takes events of the source, some or all.
func (c *Chain) Selects(s *Source) bool {
	return len(c.From) == 0 || slices.Contains(c.From, s.Receiver) || slices.Contains(c.From, s.Name())
}

// SwitchedOffBy are the names of the sources that a Response 410 switches off of a
// chain that takes events of these receivers and sources; none: of all.
func (f *File) SwitchedOffBy(from []string) []string {
	var names []string
	for i := range f.Sources {
		s := &f.Sources[i]
		if s.Gone == GoneSwitchesOff && (&Chain{From: from}).Selects(s) {
			names = append(names, s.Name())
		}
	}
	return names
}

// Chain finds a chain by its name; nil if there is none.
func (f *File) Chain(name string) *Chain {
	for i := range f.Chains {
		if f.Chains[i].Name == name {
			return &f.Chains[i]
		}
	}
	return nil
}

// Chain is a named, ordered list of handlers over the events that it selects.
type Chain struct {
	// Name names the chain, also in the broker: a chain of another name starts
	// from its Start, whatever an earlier one has handled.
	Name string `yaml:"name"`
	// From are the receivers (github) and sources (github/eu) whose events the
	// chain takes. None: all.
	From []string `yaml:"from"`
	// Events are the patterns of event names that it takes. None: all.
	Events []string `yaml:"events"`
	// When is a condition in CEL: of what From and Events select, the chain takes the
	// events for which it is true. Empty: all.
	When string `yaml:"when"`
	// Start is where a new chain begins: "now", "earliest" (all that is stored)
	// or an RFC 3339 time. Default: "now".
	Start string `yaml:"start"`
	// Concurrency is how many events the chain handles at once in one worker.
	// Default: [DefaultConcurrency].
	Concurrency int `yaml:"concurrency"`
	// Ordered lets the chain handle the events of a key one at a time and in the
	// order in which they were stored; see docs/ordering.md for what that costs.
	Ordered bool `yaml:"ordered"`
	// MaxWaiting and MaxWaitingBytes bound the events of an ordered chain that wait
	// behind others of their key, in a shard: their number, and their bytes as they
	// are stored. A shard that is past one of them takes no more until some are
	// handled. Defaults: [DefaultMaxWaiting], [DefaultMaxWaitingBytes].
	MaxWaiting      int   `yaml:"max_waiting"`
	MaxWaitingBytes int64 `yaml:"max_waiting_bytes"`
	// Retry is what happens after a handler has failed. Never nil after Load.
	Retry *Retry `yaml:"retry"`
	// Checkpoint says after which handlers it is kept where the chain stands. Empty:
	// after those that failed. [CheckpointAlways]: after each, so that a crash repeats
	// only the one that was running.
	Checkpoint string `yaml:"checkpoint"`
	// Handlers are the steps, in the order of the file. They run by Order, lowest
	// first, equal ones in the order of the file.
	Handlers []Handler `yaml:"handlers"`
}

// Handler is one step of a chain. Exactly one of HTTP, Notify, Publish, Respond,
// Reply, Transform, Filter and Log is set.
type Handler struct {
	// Order is the place in the chain: lowest first.
	Order int `yaml:"order"`
	// Name names the step; no two of a chain share it.
	Name string `yaml:"name"`
	// From are the receivers or sources for whose events the step runs. None: all
	// of the chain.
	From []string `yaml:"from"`
	// When is a condition in CEL: the step runs for the events for which it is true.
	// Empty: for all.
	When string `yaml:"when"`
	// Timeout bounds one run of the step. 0: the worker's default.
	Timeout Duration `yaml:"timeout"`
	// Checkpoint is the chain's, for this handler alone.
	Checkpoint string `yaml:"checkpoint"`
	// Retry is what happens after this step has failed. Nil: what its chain says.
	Retry *Retry `yaml:"retry"`
	// HTTP forwards the event to an address.
	HTTP *HTTP `yaml:"http"`
	// Notify tells subscribers of the event.
	Notify *Notify `yaml:"notify"`
	// Publish sends the event to a subject of NATS.
	Publish *Publish `yaml:"publish"`
	// Respond ends the chain with an answer for the sender.
	Respond *Respond `yaml:"respond"`
	// Reply sends a message to a URL that stands in the event.
	Reply *Reply `yaml:"reply"`
	// Transform makes another body, or a value, of the event.
	Transform *Transform `yaml:"transform"`
	// Filter is a condition in CEL: where it is false the chain ends, well, and the
	// record says that the event was filtered.
	Filter string `yaml:"filter"`
	// Log writes a line to the worker's log.
	Log *Log `yaml:"log"`
}

// HTTP forwards an event: its exact body, with the headers that were kept.
type HTTP struct {
	// URL is where it is posted to: any address, the file is the operator's.
	URL string `yaml:"url"`
	// Timeout bounds one request. Default: [DefaultHTTPTimeout].
	Timeout Duration `yaml:"timeout"`
	// Headers are added to the request. They may hold credentials, and are never
	// printed.
	Headers map[string]string `yaml:"headers"`
	// Response ends the chain with what was answered: status, content type and body
	// are the Response. Without it the answer's body is passed over.
	Response bool `yaml:"response"`
	// Keep leaves what was answered on the event, as the value of this name, for
	// the handlers after this one. Empty: it is passed over.
	Keep string `yaml:"keep"`
}

// Notify makes a notification of the event, with the event's body as its data.
type Notify struct {
	// Type is the notification's type, which subscriptions filter by.
	Type string `yaml:"type"`
	// Tenant is whose subscriptions see it. Default: "default".
	Tenant string `yaml:"tenant"`
}

// Log writes one line for an event: its attributes, never its body.
type Log struct {
	// Level is debug, info, warn or error. Default: "info".
	Level string `yaml:"level"`
	// Message is the line's text. Default: "event".
	Message string `yaml:"message"`
}

// Retry is a retry policy. The wait after the n-th failed attempt is
// First × Factor^(n-1), at most Max, moved at random by up to the share Jitter.
type Retry struct {
	// Attempts is how often a handler is tried in all. Default: 12.
	Attempts int `yaml:"attempts"`
	// First is the wait after the first failure. Default: 1s.
	First Duration `yaml:"first"`
	// Factor is what each wait is multiplied by, 1 to 100. Default: 2.
	Factor float64 `yaml:"factor"`
	// Max is the longest wait. Default: 1h.
	Max Duration `yaml:"max"`
	// Jitter is the share, 0 to 1, by which a wait is moved at random. Default: 0.2.
	Jitter float64 `yaml:"jitter"`
	// GiveUp is the age of an event after which it is not tried again, however
	// many attempts are left. Default: 72h.
	GiveUp Duration `yaml:"give_up"`
}

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

// StartTime is the time that Start names, if it names one.
func (c *Chain) StartTime() (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, c.Start)
	return t, err == nil
}

// Duration is a length of time, written as 300ms, 30s, 5m or 72h.
type Duration time.Duration

// Std is the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is the duration as a person writes it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration as it is read.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration, want one such as 300ms, 30s, 5m or 72h", text)
	}
	*d = Duration(v)
	return nil
}

// Sorted is the chain's handlers as they run: by Order, equal ones in the order
// of the file.
func (c *Chain) Sorted() []Handler {
	return slices.SortedStableFunc(slices.Values(c.Handlers), func(a, b Handler) int { return cmp.Compare(a.Order, b.Order) })
}

// Target is where it forwards to, to be shown: the URL without its user, path
// and query, where people put credentials.
func (h *HTTP) Target() string {
	u, err := url.Parse(h.URL)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
}
