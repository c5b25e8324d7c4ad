package console

import (
	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
)

// queryFilter reads a filter from the parameters of a request.
func queryFilter(q *rest.Query) standing.Filter {
	f := standing.Filter{
		Chain: q.Text("chain"), Type: q.Text("type"), Source: q.Text("source"), Reason: q.Text("reason"),
		From: q.Time("from"), Until: q.Time("until"),
	}
	f.Bad(q.Bad)
	return f
}

// fieldsFilter reads a filter from the field of a request's body.
func fieldsFilter(f *rest.Fields, name string) (c standing.Filter, err error) {
	inner, err := f.Object(name)
	if inner == nil {
		return c, err
	}
	inner.Only("chain", "from", "reason", "source", "type", "until")
	c = standing.Filter{
		Chain: inner.Text("chain", maxText), Type: inner.Text("type", maxText), Source: inner.Text("source", maxText),
		Reason: inner.Text("reason", maxText), From: inner.Time("from"), Until: inner.Time("until"),
	}
	c.Bad(func(field, detail string) { inner.Bad(detail, name, field) })
	return c, inner.Err()
}
