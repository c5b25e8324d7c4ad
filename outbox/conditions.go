package outbox

import (
	"sync"

	"github.com/belay-hooks/belay/internal/expression"
	"github.com/belay-hooks/belay/pkg/event"
)

// maxConditions is how many compiled conditions are kept: some 50 KB each. More
// than that are compiled when they are needed.
const maxConditions = 2000

// conditions are those of subscriptions, compiled. Those of one text share one.
type conditions struct {
	mu     sync.Mutex
	byText map[string]*expression.Condition
}

func (c *conditions) get(text string) (*expression.Condition, error) {
	c.mu.Lock()
	have := c.byText[text]
	c.mu.Unlock()
	if have != nil {
		return have, nil
	}
	made, err := expression.NewCondition(text)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byText == nil {
		c.byText = make(map[string]*expression.Condition)
	}
	for other := range c.byText { // any one
		if len(c.byText) < maxConditions {
			break
		}
		delete(c.byText, other)
	}
	c.byText[text] = made
	return made, nil
}

// hold leaves those subscriptions whose condition holds for the event. One that
// cannot be evaluated, as for a field that the data does not have, does not hold.
func (c *conditions) hold(subs []*Subscription, e *event.Event) []*Subscription {
	var reading *expression.Reading
	kept := subs[:0]
	for _, s := range subs {
		if s.When == "" {
			kept = append(kept, s)
			continue
		}
		condition, err := c.get(s.When)
		if err != nil {
			continue
		}
		if reading == nil {
			reading = expression.Read(e)
		}
		if holds, err := reading.Holds(condition); err == nil && holds {
			kept = append(kept, s)
		}
	}
	return kept
}
