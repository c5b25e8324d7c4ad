package standing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/belay-hooks/belay/pkg/stream"
)

// A Switch is what an operator has switched, or a handler for him: a chain that is
// paused, or a source that is switched off. It is kept in the bucket STATE, so it
// outlives every process, and who it is for watches it.
type Switch struct {
	// By is who has switched it, Why the reason that was given.
	By  string    `json:"by"`
	Why string    `json:"why,omitempty"`
	At  time.Time `json:"at"`
}

// A SwitchKind is what can be switched. It begins the keys of its switches.
type SwitchKind string

// The kinds of switches. One that is not there has not been switched.
const (
	// Paused chains take no events: paused.<chain>.
	Paused SwitchKind = "paused"
	// Off is a source whose webhooks are answered 410: off.<receiver>.<id>.
	Off SwitchKind = "off"
)

// key of what is switched, a chain or a source (github/eu).
func (k SwitchKind) key(name string) string {
	return string(k) + "." + strings.ReplaceAll(name, "/", ".")
}

// name of what is switched, from its key.
func (k SwitchKind) name(key string) string {
	return strings.ReplaceAll(strings.TrimPrefix(key, string(k)+"."), ".", "/")
}

// Set switches a chain or a source. What is switched already keeps who did it and
// why; then Set reports false.
func (k SwitchKind) Set(ctx context.Context, b *stream.Broker, name string, s Switch) (bool, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return false, fmt.Errorf("switch %s: %w", name, err)
	}
	_, err = b.Bucket(stream.State).Create(ctx, k.key(name), data)
	if errors.Is(err, stream.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// Unset switches it back.
func (k SwitchKind) Unset(ctx context.Context, b *stream.Broker, name string) error {
	return b.Bucket(stream.State).Delete(ctx, k.key(name))
}

// All reads what is switched, by the names.
func (k SwitchKind) All(ctx context.Context, b *stream.Broker) (map[string]Switch, error) {
	bucket := b.Bucket(stream.State)
	keys, err := bucket.Keys(ctx, string(k)+".>")
	if err != nil {
		return nil, err
	}
	all := make(map[string]Switch, len(keys))
	for _, key := range keys {
		e, err := bucket.Get(ctx, key)
		if errors.Is(err, stream.ErrNotFound) {
			continue // switched back meanwhile
		}
		if err != nil {
			return nil, err
		}
		all[k.name(key)] = readSwitch(e)
	}
	return all, nil
}

// readSwitch reads a switch. One that cannot be read is one all the same.
func readSwitch(e stream.Entry) Switch {
	var s Switch
	if err := json.Unmarshal(e.Value, &s); err != nil {
		return Switch{By: "unknown", At: e.Created}
	}
	return s
}

// Switches are what is switched of a kind, as it is known here: it follows within
// a moment.
type Switches struct {
	kind SwitchKind

	mu      sync.Mutex
	known   bool
	set     map[string]Switch
	changed chan struct{}
}

// NewSwitches returns what is known of a kind: nothing, until [Switches.Follow]
// has read it.
func NewSwitches(kind SwitchKind) *Switches {
	return &Switches{kind: kind, set: make(map[string]Switch), changed: make(chan struct{})}
}

// Look tells whether it is known what is switched, what this one is switched to if
// it is, and what is closed when that may have changed.
func (s *Switches) Look(name string) (sw Switch, on, known bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sw, on = s.set[name]
	return sw, on, s.known, s.changed
}

// Follow keeps it up to date until ctx ends, and logs what changes.
func (s *Switches) Follow(ctx context.Context, b *stream.Broker, log *slog.Logger) {
	b.Bucket(stream.State).WatchFiltered(ctx, string(s.kind)+".>", stream.Watcher{
		Reset: func(entries []stream.Entry) {
			set := make(map[string]Switch, len(entries))
			for _, e := range entries {
				set[s.kind.name(e.Key)] = readSwitch(e)
			}
			s.replace(set, log)
		},
		Put: func(e stream.Entry) {
			set := s.copy()
			set[s.kind.name(e.Key)] = readSwitch(e)
			s.replace(set, log)
		},
		Delete: func(key string, _ uint64) {
			set := s.copy()
			delete(set, s.kind.name(key))
			s.replace(set, log)
		},
	})
}

func (s *Switches) copy() map[string]Switch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.set)
}

// replace takes on what is switched now, and tells those who wait for a change.
func (s *Switches) replace(set map[string]Switch, log *slog.Logger) {
	s.mu.Lock()
	before := s.set
	s.set, s.known = set, true
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	for name, sw := range set {
		if was, on := before[name]; !on || was != sw {
			log.Warn(said[s.kind].on, slog.String(said[s.kind].what, name), slog.String("by", sw.By), slog.String("why", sw.Why), slog.Time("since", sw.At))
		}
	}
	for name := range before {
		if _, on := set[name]; !on {
			log.Info(said[s.kind].off, slog.String(said[s.kind].what, name))
		}
	}
}

// said is what the log says of a kind.
var said = map[SwitchKind]struct{ what, on, off string }{
	Paused: {"chain", "chain paused: it takes no events until it is resumed", "chain resumed"},
	Off:    {"source", "source switched off: its webhooks are answered 410 until it is resumed", "source resumed"},
}
