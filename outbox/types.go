package outbox

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// typeKeys are the keys of event types in the bucket STATE.
const typeKeys = "outbox.type."

// maxTypes bounds the catalogue.
const maxTypes = 2000

// eventType is an event type that the operator has declared.
type eventType struct {
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Created     time.Time `json:"created,omitzero"`
}

// catalogue holds the event types. While it is empty every type is as good as any
// other; from the first one on, only what is declared can be asked for.
type catalogue struct {
	mu    sync.RWMutex
	byKey map[string]eventType
}

func (c *catalogue) watcher() stream.Watcher {
	put := func(to map[string]eventType, e stream.Entry) {
		var t eventType
		if json.Unmarshal(e.Value, &t) == nil && t.Name != "" {
			to[e.Key] = t
		}
	}
	return stream.Watcher{
		Reset: func(entries []stream.Entry) {
			all := make(map[string]eventType, len(entries))
			for _, e := range entries {
				put(all, e)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.byKey = all
		},
		Put: func(e stream.Entry) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.byKey == nil {
				c.byKey = make(map[string]eventType)
			}
			put(c.byKey, e)
		},
		Delete: func(key string, _ uint64) {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.byKey, key)
		},
	}
}

func (c *catalogue) list() []eventType {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.SortedFunc(maps.Values(c.byKey), func(a, b eventType) int { return strings.Compare(a.Name, b.Name) })
}

// allow refuses filters that no declared type matches.
func (c *catalogue) allow(filters []string) error {
	all := c.list()
	if len(all) == 0 {
		return nil
	}
	var errs []rest.FieldProblem
	for i, filter := range filters {
		p, err := event.ParsePattern(filter)
		if err == nil && (p.Match(typeDisabled) || p.Match(typeExhausted)) {
			continue // these the outbox declares
		}
		if err != nil || !slices.ContainsFunc(all, func(t eventType) bool { return p.Match(t.Name) }) {
			errs = append(errs, rest.FieldProblem{Pointer: rest.Pointer("filters", strconv.Itoa(i)),
				Detail: "no declared event type is selected by it; GET /v1/event-types lists them"})
		}
	}
	if len(errs) > 0 {
		return rest.Invalid(errs...)
	}
	return nil
}

// declares reports whether notifications of a type may be sent.
func (c *catalogue) declares(name string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	_, ok := c.byKey[typeKeys+digest(name)]
	return ok || len(c.byKey) == 0
}

// typesPage is the list of event types.
type typesPage struct {
	// Declared says that filters are checked against the list.
	Declared   bool        `json:"declared"`
	EventTypes []eventType `json:"event_types"`
}

func (a *api) listTypes(w http.ResponseWriter, _ *http.Request, _ caller) error {
	declared := a.types.list()
	answer := typesPage{Declared: len(declared) > 0, EventTypes: []eventType{{Name: "*", Description: "All events."}}}
	answer.EventTypes = append(answer.EventTypes, declared...)
	rest.WriteJSON(w, http.StatusOK, "application/json", answer)
	return nil
}

func (a *api) declareType(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := who.may(accessOperator); err != nil {
		return err
	}
	f, err := decodeEmpty(w, r)
	if err != nil {
		return err
	}
	f.Only("name", "description", "created")
	name := mux.Vars(r)["name"]
	if len(name) > maxEventType || strings.Contains(name, "*") || rest.BadText(name, maxEventType) != "" {
		f.Bad("want an event type of at most "+strconv.Itoa(maxEventType)+" bytes, without *", "name")
	}
	if f.Has("name") && f.Text("name", maxEventType) != name {
		f.Bad("want the name in the path, or none", "name")
	}
	t := eventType{Name: name, Description: f.Text("description", maxDescription), Created: time.Now().UTC()}
	if err := f.Err(); err != nil {
		return err
	}
	if len(a.types.list()) >= maxTypes {
		return rest.NewProblem(http.StatusInsufficientStorage, "want at most "+strconv.Itoa(maxTypes)+" event types")
	}
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if _, err := a.broker.Bucket(stream.State).Put(r.Context(), typeKeys+digest(name), data); err != nil {
		return err
	}
	a.audit(who, "event type declared", name)
	rest.WriteJSON(w, http.StatusOK, "application/json", t)
	return nil
}

func (a *api) deleteType(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := who.may(accessOperator); err != nil {
		return err
	}
	name := mux.Vars(r)["name"]
	if err := a.broker.Bucket(stream.State).Delete(r.Context(), typeKeys+digest(name)); err != nil {
		return err
	}
	a.audit(who, "event type deleted", name)
	w.WriteHeader(http.StatusNoContent)
	return nil
}
