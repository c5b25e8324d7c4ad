package outbox

import (
	"slices"
	"strings"
)

// index finds the subscriptions of a tenant that want an event of a type. It is a
// tree by the tokens of the filters: looking a type up visits the paths that fit
// it, whatever the number of subscriptions.
//
//	deploy.*       deploy ─▶ rest
//	*.done         * ─▶ done ─▶ exact
//	deploy.done    deploy ─▶ done ─▶ exact
type index struct {
	next  map[string]*index // by token; * for any one
	exact []*Subscription   // whose filter ends here
	rest  []*Subscription   // whose filter ends in * below: one token or more
}

// add puts a subscription at the end of a filter.
func (i *index) add(filter string, s *Subscription) {
	token, rest, more := strings.Cut(filter, ".")
	switch {
	case token == "*" && !more:
		i.rest = append(i.rest, s)
		return
	case i.next == nil:
		i.next = make(map[string]*index)
	}
	if i.next[token] == nil {
		// A copy: the token would keep the whole subscription's text in memory.
		i.next[strings.Clone(token)] = &index{}
	}
	if !more {
		i.next[token].exact = append(i.next[token].exact, s)
		return
	}
	i.next[token].add(rest, s)
}

// remove takes a subscription from the end of a filter, and what is empty then.
func (i *index) remove(filter string, s *Subscription) {
	token, rest, more := strings.Cut(filter, ".")
	if token == "*" && !more {
		i.rest = without(i.rest, s)
		return
	}
	below := i.next[token]
	if below == nil {
		return
	}
	if more {
		below.remove(rest, s)
	} else {
		below.exact = without(below.exact, s)
	}
	if below.empty() {
		delete(i.next, token)
	}
}

func (i *index) empty() bool { return len(i.next) == 0 && len(i.exact) == 0 && len(i.rest) == 0 }

// without removes one subscription; their order does not matter.
func without(all []*Subscription, s *Subscription) []*Subscription {
	at := slices.Index(all, s)
	if at < 0 {
		return all
	}
	last := len(all) - 1
	all[at], all[last] = all[last], nil
	return all[:last]
}

// match calls take for those whose filters fit the type. One that has several such
// filters is taken several times.
func (i *index) match(eventType string, take func([]*Subscription)) {
	take(i.rest)
	token, rest, more := strings.Cut(eventType, ".")
	i.next[token].below(rest, more, take)
	if token != "*" {
		i.next["*"].below(rest, more, take)
	}
}

// below goes on with the rest of a type; there may be nothing below.
func (i *index) below(rest string, more bool, take func([]*Subscription)) {
	switch {
	case i == nil:
	case more:
		i.match(rest, take)
	default:
		take(i.exact)
	}
}
