package receiver

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
)

const (
	// minTimeout and maxTimeout bound what a source may say of its sender. Below
	// a second nothing can be tried twice, and a server that is told to stop waits
	// for what is in hand.
	minTimeout = time.Second
	maxTimeout = 15 * time.Second
	// maxID bounds the length of a source's id.
	maxID = 64
)

// A Secret is a secret that may change while the program runs. Value is called
// for every request, from several goroutines, so it must be cheap.
type Secret interface {
	// Value returns the secret's text. Its error must not hold any of it.
	Value() (string, error)
}

// SourceConfig is what makes a receiver a source.
type SourceConfig struct {
	// Receiver is the slug of the receiver, or an alias.
	Receiver string
	// ID tells the sources of one receiver apart. It is part of the URL. Default: default.
	ID string
	// Secrets are the accepted secrets: several while one replaces another. The
	// first signs.
	Secrets []Secret
	// Fetcher gets keys and certificates from providers. All sources of a process,
	// and those after a reload, should share one. Default: one of the source's own.
	Fetcher *Fetcher
	// Tolerance replaces that of the receiver, if it is not zero.
	Tolerance time.Duration
	// Timeout is how long the sender waits for an answer: 1 to 15 s. Zero: what
	// the receiver knows of it.
	Timeout time.Duration
	// Params are what the receiver needs besides secrets.
	Params map[string]string
	// Key is the template of the partition key. Empty: the receiver's.
	Key string
	// MaxBody is the greatest body in bytes. Zero: the receiver's.
	MaxBody int64
	// MaxHeader is the greatest size in bytes of a request's headers. Zero: the
	// server's.
	MaxHeader int64
	// RequireHTTPS says whether what was sent in the clear is refused. Nil: where the
	// sender sends a secret as it is, which who listens could take.
	RequireHTTPS *bool
	// Rate is how many webhooks are accepted. Zero: any number.
	Rate Rate
	// Wait is whose answer the sender gets. Zero: the receiver's success answer.
	Wait Wait
}

// Wait is a chain that answers the sender.
type Wait struct {
	// Chain is its name. Empty: none.
	Chain string
	// Events are the patterns of the event names that it takes. None: all.
	Events []string
}

// asks compiles the patterns.
func (w Wait) asks() (asks, error) {
	a := asks{chain: w.Chain}
	for _, text := range w.Events {
		p, err := event.ParsePattern(text)
		if err != nil {
			return a, &FieldError{Field: "answer.wait", Value: text, Want: "a chain whose events are patterns: " + err.Error()}
		}
		a.events = append(a.events, p)
	}
	return a, nil
}

// asks is a compiled [Wait].
type asks struct {
	chain  string
	events []event.Pattern // none: all
}

// Rate is how many webhooks a server accepts of a source.
type Rate struct {
	// PerSecond is how many it accepts in a second, in the long run.
	PerSecond float64
	// Burst is how many it accepts at once after a pause. Zero: PerSecond,
	// rounded up.
	Burst int
}

// checked fills in the burst.
func (r Rate) checked() (Rate, error) {
	switch {
	case r == Rate{}:
	case !(r.PerSecond > 0): // NaN too
		return r, &FieldError{Field: "rate_limit.per_second", Value: fmt.Sprint(r.PerSecond), Want: "a number above zero"}
	case r.Burst < 0:
		return r, &FieldError{Field: "rate_limit.burst", Value: fmt.Sprint(r.Burst), Want: "at least 1"}
	case r.Burst == 0:
		r.Burst = int(math.Ceil(min(r.PerSecond, math.MaxInt32)))
	}
	return r, nil
}

// isID reports whether a source can have this id: it is a segment of a URL.
func isID(id string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
	return len(id) <= maxID && strings.Trim(id, letters) == "" && id != "." && id != ".."
}
