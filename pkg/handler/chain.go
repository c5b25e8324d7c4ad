package handler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
)

// Chain is a named, ordered list of handlers over the events that it selects.
type Chain struct {
	// Name names the chain, also at the broker, where its progress is kept: a
	// chain of another name starts anew. a-z, 0-9, - and _.
	Name string
	// From are the receivers (github) and sources (github/eu) whose events it
	// takes. None: all.
	From []string
	// Events are patterns of event names: push, pull_request.*. None: all.
	Events []string
	// When is asked for each event that From and Events select, before the first
	// handler: whether the chain takes it. An event that it does not take leaves no
	// trace. An error is that of a handler. Nil: all.
	When Condition
	// Earliest lets a new chain begin with the oldest event that is stored, Since
	// with the first one stored then or later. Neither: with what comes from now
	// on. Both have no effect on a chain that has begun.
	Earliest bool
	Since    time.Time
	// Concurrency is how many events one worker handles at once. 0: 64.
	Concurrency int
	// Ordered lets the chain handle the events of a key ([event.Event.Key]) one at a
	// time and in the order in which they were stored; keys in parallel. One worker
	// owns a shard of the events at a time, and a failing event holds back those of
	// its key until it is handled or given up.
	//
	// A handler that is running cannot be stopped from outside: where a worker was
	// cut off from the broker, or stopped (SIGSTOP) for longer than its lease, and
	// its handler does not end with its context, that handler may end while another
	// worker has gone on with the key. Nothing begins there any more, and nothing
	// is recorded.
	Ordered bool
	// MaxWaiting and MaxWaitingBytes bound the events of an ordered chain that wait
	// behind others of their key, in a shard: their number (0: 10 000), and their
	// bytes as they are stored (0: 64 MiB). A shard that is past one of them takes no
	// more until some are handled.
	MaxWaiting      int
	MaxWaitingBytes int64
	// SwitchOff are the sources (github/eu) that a [Response] of status 410 of this
	// chain switches off: their webhooks are answered 410 until an operator resumes
	// them. In the configuration file: gone: switch_off of a source.
	SwitchOff []string
	// Retry is the policy after a failed handler. The zero value is
	// [DefaultRetry].
	Retry Retry
	// Checkpoint keeps where the chain stands after each of its handlers, and not
	// only after one that failed: see [Step.Checkpoint].
	Checkpoint bool
	// Steps run by Order, lowest first, equal ones as they stand here.
	Steps []Step
}

// Step is a handler in a chain.
type Step struct {
	// Order is the place in the chain: lowest first.
	Order int
	// Name names the step; no two of a chain share it. A retry resumes at the
	// step by its name.
	Name string
	// From are the receivers and sources for whose events the step runs. None:
	// all of the chain.
	From []string
	// When is asked before each attempt: whether the step runs for an event. One that
	// does not run is passed over. An error is the step's. Nil: always.
	When Condition
	// Checkpoint keeps where the chain stands once the handler has ended well, so that
	// not even a crash repeats it, unless it comes in between. It costs a durable
	// write for the handler and one at the chain's end, which is why a chain without
	// it keeps that after a failure only; a crash there repeats the handlers of the
	// events in hand.
	Checkpoint bool
	// Timeout bounds one run. 0: 30 s.
	Timeout time.Duration
	// Retry is the policy after this step has failed. The zero value is the chain's.
	Retry Retry
	// Handler is the code.
	Handler Handler
}

// Condition says whether a chain takes an event, or a step runs for it. It must
// depend on the event alone, and change nothing of it.
type Condition func(e *event.Event) (bool, error)

// The defaults of a chain.
const (
	DefaultConcurrency = 64
	DefaultTimeout     = 30 * time.Second

	DefaultMaxWaiting      = 10_000
	DefaultMaxWaitingBytes = 64 << 20
)

// Validate tells what is wrong with the chain, field by field.
func (c *Chain) Validate() error {
	if !validName(c.Name) {
		return fmt.Errorf("chain name %q: want a-z, 0-9, - and _, at most 63, the first one a letter or digit", c.Name)
	}
	if len(c.Steps) == 0 {
		return fmt.Errorf("chain %s: steps: want at least one", c.Name)
	}
	if c.Concurrency < 0 {
		return fmt.Errorf("chain %s: concurrency is %d: want 1 or more, or 0 for %d", c.Name, c.Concurrency, DefaultConcurrency)
	}
	if c.MaxWaiting < 0 || c.MaxWaitingBytes < 0 {
		return fmt.Errorf("chain %s: max waiting is %d events of %d bytes: want 1 or more, or 0 for the default", c.Name, c.MaxWaiting, c.MaxWaitingBytes)
	}
	for _, pattern := range c.Events {
		if _, err := event.ParsePattern(pattern); err != nil {
			return fmt.Errorf("chain %s: events: %w", c.Name, err)
		}
	}
	if err := c.Retry.Validate(); err != nil {
		return fmt.Errorf("chain %s: retry: %w", c.Name, err)
	}
	seen := make(map[string]bool, len(c.Steps))
	for _, s := range c.Steps {
		switch {
		case !validName(s.Name):
			return fmt.Errorf("chain %s: step name %q: want a-z, 0-9, - and _, at most 63", c.Name, s.Name)
		case seen[s.Name]:
			return fmt.Errorf("chain %s: two steps are named %s", c.Name, s.Name)
		case s.Handler == nil:
			return fmt.Errorf("chain %s: step %s has no handler", c.Name, s.Name)
		case s.Timeout < 0:
			return fmt.Errorf("chain %s: step %s: timeout is %v: want more than 0", c.Name, s.Name, s.Timeout)
		}
		if err := s.Retry.Validate(); err != nil {
			return fmt.Errorf("chain %s: step %s: retry: %w", c.Name, s.Name, err)
		}
		seen[s.Name] = true
	}
	return nil
}

// Sorted returns the steps in the order in which they run.
func (c *Chain) Sorted() []Step {
	return slices.SortedStableFunc(slices.Values(c.Steps), func(a, b Step) int { return a.Order - b.Order })
}

// Selects reports whether the chain takes an event. Its patterns must be valid.
func (c *Chain) Selects(e *event.Event) bool {
	if !fromMatches(c.From, e) {
		return false
	}
	name := e.Name()
	for _, text := range c.Events {
		if p, err := event.ParsePattern(text); err == nil && p.Match(name) {
			return true
		}
	}
	return len(c.Events) == 0
}

// Runs reports whether the step runs for an event that its chain has selected.
func (s *Step) Runs(e *event.Event) bool { return fromMatches(s.From, e) }

func fromMatches(from []string, e *event.Event) bool {
	return len(from) == 0 || slices.ContainsFunc(from, func(f string) bool {
		receiver, source, one := strings.Cut(f, "/")
		return receiver == e.Receiver && (!one || source == e.SourceID)
	})
}

func validName(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[0] == '_' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
