package console

import (
	"net/http"
	"time"

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
	raw, ok := f.Raw[name]
	if !ok {
		return c, nil
	}
	inner, err := rest.ReadFields(raw)
	if err != nil {
		return c, rest.NewProblem(http.StatusUnprocessableEntity, "the field "+name+" is not a JSON object")
	}
	inner.Only("chain", "from", "reason", "source", "type", "until")
	c = standing.Filter{
		Chain: inner.Text("chain", maxText), Type: inner.Text("type", maxText), Source: inner.Text("source", maxText),
		Reason: inner.Text("reason", maxText), From: timeField(inner, "from"), Until: timeField(inner, "until"),
	}
	c.Bad(func(field, detail string) { inner.Bad(detail, name, field) })
	return c, inner.Err()
}

func timeField(f *rest.Fields, name string) time.Time {
	text := f.Text(name, maxText)
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		f.Bad("want a time such as 2026-11-22T10:00:00Z", name)
	}
	return at
}
