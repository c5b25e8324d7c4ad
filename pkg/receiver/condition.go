package receiver

import (
	"crypto/subtle"
	"maps"
	"slices"
)

// A condition is that a template has a value. Neither an empty value nor an
// absent one ever has it.
type condition struct {
	template template
	wants    []string // one of them
	any      bool
}

func (c condition) holds(q *request) bool {
	got := c.template.text(q)
	if got == "" || c.any {
		return got != ""
	}
	found := 0
	for _, want := range c.wants {
		found |= subtle.ConstantTimeCompare([]byte(got), []byte(want))
	}
	return found == 1
}

func holdAll(all []condition, q *request) bool {
	for _, c := range all {
		if !c.holds(q) {
			return false
		}
	}
	return true
}

func (c *compiler) conditions(field string, when map[string]string) ([]condition, error) {
	var all []condition
	for _, text := range slices.Sorted(maps.Keys(when)) {
		t, err := c.template(field, text)
		if err != nil {
			return nil, err
		}
		all = append(all, condition{template: t, wants: c.values(when[text]), any: when[text] == "*"})
	}
	return all, nil
}
