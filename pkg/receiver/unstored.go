package receiver

import (
	"fmt"
)

// An unstored is a compiled [Unstored].
type unstored struct {
	when   []condition
	call   *call // nil: none is made
	answer answer
}

func (u unstored) matches(q *request) bool { return holdAll(u.when, q) }

// templates are all that are filled from a request.
func (u unstored) templates() []choice {
	all := u.answer.templates()
	for _, c := range u.when {
		all = append(all, choice{c.template})
	}
	return append(all, u.call.templates()...)
}

func (c *compiler) unstored(forms []Unstored) ([]unstored, error) {
	var all []unstored
	for i, f := range forms {
		field := fmt.Sprintf("unstored[%d].", i)
		if len(f.When) == 0 {
			return nil, &FieldError{Field: field + "when", Want: "a condition: without one nothing would be stored"}
		}
		u, err := c.kind(field, f.When, f.Answer)
		if err != nil {
			return nil, err
		}
		if f.Call != nil {
			if u.call, err = c.call(field+"call.", *f.Call); err != nil {
				return nil, err
			}
		}
		all = append(all, u)
	}
	return all, nil
}

// kind compiles a kind of request that is answered and not stored.
func (c *compiler) kind(field string, when map[string]string, f AnswerForm) (u unstored, err error) {
	if u.answer, err = c.answer(field+"answer", f); err != nil {
		return u, err
	}
	u.when, err = c.conditions(field+"when", when)
	return u, err
}
