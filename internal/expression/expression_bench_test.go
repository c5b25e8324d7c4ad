package expression_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/belay-hooks/belay/internal/expression"
	"github.com/belay-hooks/belay/pkg/event"
)

// What a condition and a query cost for an event: a GitHub pull request. The measure
// is how long encoding/json takes to parse the body, which is reported beside each.
func BenchmarkExpression(b *testing.B) {
	body, err := os.ReadFile("../../pkg/receiver/testdata/github/pull_request.opened.json")
	if err != nil {
		b.Fatal(err)
	}
	e := &event.Event{ID: "1", Receiver: "github", Type: "github.pull_request.opened", ContentType: "application/json", Body: body}
	condition := func(text string) func() error {
		c, err := expression.NewCondition(text)
		if err != nil {
			b.Fatal(err)
		}
		return func() error { _, err := c.Holds(e); return err }
	}
	query := func(text string) func() error {
		q, err := expression.NewQuery(text)
		if err != nil {
			b.Fatal(err)
		}
		return func() error { _, err := q.Run(b.Context(), e); return err }
	}
	parse := func() error { var v any; return json.Unmarshal(body, &v) }
	var parsed float64 // nanoseconds
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"parse", parse},
		{"condition/attributes", condition(`event.name.startsWith("pull_request.") && event.attempt < 5`)},
		{"condition/body", condition(`body.action == "opened" && body.pull_request.base.ref == "main"`)},
		{"transform", query(`{title: .pull_request.title, by: .pull_request.user.login}`)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if err := c.run(); err != nil {
					b.Fatal(err)
				}
			}
			took := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			if c.name == "parse" {
				parsed = took
			}
			b.ReportMetric(took/parsed, "x-parse")
		})
	}
}
