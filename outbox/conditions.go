package outbox

import (
	"encoding/json"
	"slices"
	"sync"

	"github.com/belay-hooks/belay/internal/expression"
	"github.com/belay-hooks/belay/pkg/event"
)

// How many compiled texts are kept: some 50 KB each. More than that are compiled when
// they are needed.
const (
	maxConditions = 2000
	maxPredicates = 100 // each call may bring another one
)

// conditions are those of subscriptions, compiled. Those of one text share one.
type conditions struct {
	most    int
	mu      sync.Mutex
	byText  map[string]*expression.Condition
	compile func(text string) (*expression.Condition, error)
}

func (c *conditions) get(text string) (*expression.Condition, error) {
	c.mu.Lock()
	have := c.byText[text]
	c.mu.Unlock()
	if have != nil {
		return have, nil
	}
	made, err := c.compile(text)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byText == nil {
		c.byText = make(map[string]*expression.Condition)
	}
	for other := range c.byText { // any one
		if len(c.byText) < c.most {
			break
		}
		delete(c.byText, other)
	}
	c.byText[text] = made
	return made, nil
}

// matcher knows the conditions of subscriptions, and the predicates of notifications.
type matcher struct{ conditions, predicates conditions }

func newMatcher() *matcher {
	return &matcher{
		conditions: conditions{most: maxConditions, compile: expression.NewCondition},
		predicates: conditions{most: maxPredicates, compile: expression.NewPredicate},
	}
}

// asks reports whether somebody asks for more than the type of an event.
func asks(subs []*Subscription, e *event.Event) bool {
	return e.When != "" || slices.ContainsFunc(subs, func(s *Subscription) bool { return s.When != "" })
}

// hold leaves those subscriptions whose condition holds for the event, and that the
// event is for. A condition that cannot be evaluated, as for a field that the data does
// not have, does not hold.
func (m *matcher) hold(subs []*Subscription, e *event.Event) []*Subscription {
	if !asks(subs, e) {
		return subs
	}
	reading := expression.Read(e)
	return slices.DeleteFunc(subs, func(s *Subscription) bool {
		return !holds(&m.conditions, s.When, reading.Holds) ||
			!holds(&m.predicates, e.When, func(c *expression.Condition) (bool, error) { return reading.HoldsFor(c, s.fields()) })
	})
}

// holds evaluates a condition; an empty one holds.
func holds(c *conditions, text string, evaluate func(*expression.Condition) (bool, error)) bool {
	if text == "" {
		return true
	}
	condition, err := c.get(text)
	if err != nil {
		return false
	}
	holds, err := evaluate(condition)
	return err == nil && holds
}

// fields are what a predicate may ask of a subscription: nothing that is secret.
func (s *Subscription) fields() map[string]any {
	properties := make(map[string]any, len(s.Properties))
	for name, raw := range s.Properties {
		var value any
		if json.Unmarshal(raw, &value) == nil {
			properties[name] = value
		}
	}
	return map[string]any{
		"id": s.ID, "tenant": s.Tenant, "description": s.Description, "url": s.URL, "host": hostOf(s.URL),
		"filters": s.Filters, "properties": properties,
	}
}
