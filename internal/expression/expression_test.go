package expression_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/expression"
	"github.com/belay-hooks/belay/pkg/event"
)

func opened() *event.Event {
	return &event.Event{
		ID: "72d3162e", Source: "/github/eu", Type: "github.pull_request.opened", Receiver: "github", SourceID: "eu",
		Key: "octo/hello", Time: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), ContentType: "application/json", Attempt: 2,
		Header: http.Header{"X-Github-Event": {"pull_request"}, "X-Two": {"a", "b"}},
		Body:   []byte(`{"action":"opened","number":7,"ratio":0.5,"id":9007199254740993,"labels":[{"name":"bug"},{"name":"ui"}],"user":null,"draft":false}`),
		Values: event.Values{"said": json.RawMessage(`{"text":"hi"}`), event.BodyValue: json.RawMessage(`1`)},
	}
}

func TestConditionHolds(t *testing.T) {
	form := &event.Event{ContentType: "application/x-www-form-urlencoded", Body: []byte("command=%2Fdeploy&tag=a&tag=b")}
	payload := &event.Event{ContentType: "application/x-www-form-urlencoded", Body: []byte("payload=" + url.QueryEscape(`{"action":"opened"}`))}
	for name, test := range map[string]struct {
		e    *event.Event
		text string
		want string // true, false, or a part of the error
	}{
		"body":                     {opened(), `body.action == "opened"`, "true"},
		"another value":            {opened(), `body.action == "closed"`, "false"},
		"whole numbers are ints":   {opened(), `body.number * 2 == 14`, "true"},
		"and exact":                {opened(), `body.id == 9007199254740993`, "true"},
		"others are doubles":       {opened(), `body.ratio * 2.0 == 1.0`, "true"},
		"numbers compare":          {opened(), `body.number > 6.5`, "true"},
		"list":                     {opened(), `body.labels.exists(l, l.name == "ui")`, "true"},
		"null":                     {opened(), `body.user == null`, "true"},
		"a value that is one":      {opened(), `body.draft`, "false"},
		"attributes":               {opened(), `event.type == "github.pull_request.opened" && event.name == "pull_request.opened" && event.source == "github/eu" && event.receiver == "github" && event.key == "octo/hello" && event.id == "72d3162e"`, "true"},
		"time":                     {opened(), `event.time > timestamp("2026-11-22T09:59:59Z") && event.time.getHours() == 10`, "true"},
		"attempt":                  {opened(), `event.attempt == 2 && event.run == 0`, "true"},
		"headers":                  {opened(), `headers["x-github-event"] == "pull_request" && headers["x-two"] == "a, b"`, "true"},
		"a header that is not":     {opened(), `"x-none" in headers`, "false"},
		"values":                   {opened(), `values.said.text == "hi"`, "true"},
		"the body is no value":     {opened(), `"$body" in values`, "false"},
		"has":                      {opened(), `has(body.sender) && body.sender.login == "x"`, "false"},
		"optional":                 {opened(), `body.?sender.?login.orValue("") == ""`, "true"},
		"strings":                  {opened(), `event.key.split("/")[1].upperAscii() == "HELLO"`, "true"},
		"a field that is not":      {opened(), `body.sender == "x"`, "the event has no sender there; where it may be missing, ask has(….sender)"},
		"either side is enough":    {opened(), `body.sender == "x" || body.number == 7`, "true"},
		"no boolean":               {opened(), `body.number`, "it is of type int, want true or false"},
		"of another type":          {opened(), `body.action > 5`, "no such overload"},
		"form":                     {form, `body.command == "/deploy" && body.tag == ["a", "b"]`, "true"},
		"JSON in a form":           {payload, `body.action == "opened"`, "true"},
		"text":                     {&event.Event{Body: []byte("hello")}, `body == "hello"`, "true"},
		"bytes that are no text":   {&event.Event{Body: []byte("a\xff")}, `body.startsWith("a")`, "true"},
		"two documents are a text": {&event.Event{Body: []byte("1 2")}, `body == "1 2"`, "true"},
		"empty":                    {&event.Event{}, `body == null`, "true"},
		"cost at run":              {&event.Event{Body: []byte("[" + strings.Repeat("1,", 20_000) + "1]")}, `body.all(a, body.all(b, a == b))`, "cost limit"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := expression.NewCondition(test.text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Holds(test.e)
			switch {
			case test.want == "true" || test.want == "false":
				if err != nil || got != (test.want == "true") {
					t.Errorf("got %v, %v", got, err)
				}
			case err == nil || !strings.Contains(err.Error(), test.want):
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestPredicateHolds(t *testing.T) {
	e := &event.Event{ID: "1", Type: "t", ContentType: "application/json", Body: []byte(`{"n":3}`)}
	subscription := map[string]any{"id": "sub_1", "filters": []string{"a.*"}, "properties": map[string]any{"plan": "pro", "seats": 4.0}}
	for _, c := range []struct {
		text string
		want bool
	}{
		{`subscription.id == "sub_1" && event.type == "t"`, true},
		{`subscription.properties.seats > body.n`, true},
		{`"a.*" in subscription.filters`, true},
		{`subscription.properties.plan == "free"`, false},
		{`has(subscription.properties.nope)`, false},
	} {
		p, err := expression.NewPredicate(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := expression.Read(e).HoldsFor(p, subscription); err != nil || got != c.want {
			t.Errorf("%s: %v, %v", c.text, got, err)
		}
	}
	if _, err := expression.NewCondition(`subscription.id == "1"`); err == nil {
		t.Error("a condition of a chain knows subscriptions")
	}
}

func TestConditionIsCheckedAtTheStart(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		offset int
		reason string
	}{
		"syntax":              {"body.action = 'opened'", 12, "Syntax error"},
		"unknown name":        {"body.a == 1 &&\n  bdy.b == 2", 17, "undeclared reference to 'bdy'"},
		"after other letters": {"body['ü'] == 'é' && bdy", 22, "undeclared reference"},
		"unknown attribute":   {"event.tpye == 'x'", 5, "did you mean 'event.type'"},
		"type":                {"event.attempt == 'x'", 14, "no matching overload"},
		"no condition":        {"event.id", -1, "want a condition, which is true or false; it is of type string"},
		"cost":                {"body.a.all(x, body.b.all(y, body.c.all(z, x == y && y == z)))", -1, "may cost too much"},
		"empty":               {" ", -1, "empty"},
		"length":              {strings.Repeat("a", 20_000), -1, "20000 bytes"},
		"regular expression":  {"event.id.matches('(')", -2, "regexp"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := expression.NewCondition(test.text)
			var wrong *expression.Error
			if !errors.As(err, &wrong) || !strings.Contains(wrong.Reason, test.reason) || test.offset >= -1 && wrong.Offset != test.offset {
				t.Errorf("got %+v", err)
			}
		})
	}
}

func TestQuery(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want string // JSON, or a part of the error
	}{
		"object":          {`{n: .number, by: .labels[0].name}`, `{"by":"bug","n":7}`},
		"exact numbers":   {`.id`, `9007199254740993`},
		"attributes":      {`[$event.type, $event.source, $event.time, $event.attempt]`, `["github.pull_request.opened","github/eu","2026-11-22T10:00:00Z",2]`},
		"headers":         {`$headers["x-github-event"]`, `"pull_request"`},
		"values":          {`$values`, `{"said":{"text":"hi"}}`},
		"no result":       {`empty`, "it has no result"},
		"several results": {`.labels[]`, "it has several results"},
		"wrong type":      {`.action | keys`, "query `.action | keys`: keys cannot be applied to: string"},
		"an error's text": {`.action | error("no " + .)`, "no opened"},
		"no environment":  {`env`, `{}`},
		"endless":         {`def f: f; f`, "took longer than"},
		"halt":            {`halt_error`, "halt"},
		"too large":       {`"x" * 600000`, "want at most 524288"},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := expression.NewQuery(test.text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := q.Run(t.Context(), opened())
			if err != nil {
				got = []byte(err.Error())
			}
			if string(got) != test.want && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %s", got)
			}
			if err != nil && name == "wrong type" && strings.Contains(err.Error(), "opened") {
				t.Errorf("the event stands in %v", err)
			}
		})
	}
}

func TestQueryEndsWithTheStep(t *testing.T) {
	q, err := expression.NewQuery(`def f: f; f`)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Run(ctx, opened()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestQueryIsCheckedAtTheStart(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		offset int
	}{
		"syntax":           {"{a: .b, }}", 9},
		"end":              {".a |", 4},
		"unknown function": {".a | foo(1)", 5},
		"unknown variable": {".a |\n $evnt", 6},
		"further input":    {"input", -1},
		"empty":            {"", -1},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := expression.NewQuery(test.text)
			var wrong *expression.Error
			if !errors.As(err, &wrong) || wrong.Offset != test.offset {
				t.Errorf("got %+v", err)
			}
		})
	}
}

// Foreign bytes end neither a condition nor a query in a panic, and a body that is
// JSON is the same to both.
func FuzzBody(f *testing.F) {
	c, err := expression.NewCondition(`has(body.a) && body.a.b[0] > 1 || body == "x" || string(body.c).matches("a+")`)
	if err != nil {
		f.Fatal(err)
	}
	q, err := expression.NewQuery(`[.a.b[0]?, ($event | length), .]`)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("application/json", []byte(`{"a":{"b":[2e999,1]},"c":1}`))
	f.Add("application/x-www-form-urlencoded", []byte(`payload={"a":1}&x=%zz`))
	f.Add("text/xml", []byte("<a>\xff</a>"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		e := &event.Event{ContentType: contentType, Body: body, Values: event.Values{"v": body}}
		_, _ = c.Holds(e)
		_, _ = q.Run(t.Context(), e)
	})
}
