// Package config reads what an operator writes: one YAML file for sources and
// chains, and the environment for addresses, the broker and limits. It is
// strict. A field it does not know, a value out of bounds and a name that
// stands for nothing are problems, each told with its line and with what would
// be right, all of them at once.
package config

import (
	"cmp"
	"net/url"
	"slices"
	"time"
)

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

// StartTime is the time that Start names, if it names one.
func (c *Chain) StartTime() (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, c.Start)
	return t, err == nil
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
