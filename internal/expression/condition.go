package expression

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"github.com/belay-hooks/belay/pkg/event"
)

// The bounds of a condition. A unit of cost is about one step of the evaluation, and
// a million of them take about a tenth of a second
// (https://github.com/cel-expr/cel-spec/blob/master/doc/langdef.md#performance).
const (
	// maxCost ends an evaluation.
	maxCost = 1_000_000
	// maxEstimate refuses a condition at the start: two loops inside each other over
	// lists of the event are fine, three are not.
	maxEstimate = 200_000_000
	// What the estimate takes lists and texts of an event for.
	guessedList, guessedText = 1_000, 1_000
)

// Condition is a compiled condition. It may be used by several goroutines.
type Condition struct {
	text    string
	program cel.Program
}

// environment is what conditions may name. It is made once: it takes milliseconds.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.CustomTypeAdapter(adapter{types.DefaultTypeAdapter}),
		cel.OptionalTypes(), ext.Strings(),
		cel.Variable("body", cel.DynType),
		cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("values", cel.MapType(cel.StringType, cel.DynType)),
	}
	for name := range attributes {
		kind := cel.StringType
		switch name {
		case "time":
			kind = cel.TimestampType
		case "run", "attempt":
			kind = cel.IntType
		}
		options = append(options, cel.Variable("event."+name, kind))
	}
	return cel.NewEnv(options...)
})

// withSubscription is what predicates may name: the subscription too.
var withSubscription = sync.OnceValues(func() (*cel.Env, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	return env.Extend(cel.Variable("subscription", cel.MapType(cel.StringType, cel.DynType)))
})

// NewCondition compiles a condition in CEL (https://cel.dev), and checks its types
// and what it may cost. The error is an [*Error].
func NewCondition(text string) (*Condition, error) { return compile(text, environment) }

// NewPredicate is [NewCondition] for a condition that may name the subscription too:
// see [Reading.HoldsFor].
func NewPredicate(text string) (*Condition, error) { return compile(text, withSubscription) }

func compile(text string, environment func() (*cel.Env, error)) (*Condition, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		first := issues.Errors()[0]
		return nil, &Error{Text: text, Offset: offset(text, first.Location.Line(), first.Location.Column()), Reason: reason(first.Message)}
	}
	whole := func(format string, args ...any) error {
		return &Error{Text: text, Offset: -1, Reason: fmt.Sprintf(format, args...)}
	}
	if kind := ast.OutputType(); !kind.IsAssignableType(cel.BoolType) && !kind.IsExactType(cel.DynType) {
		return nil, whole("want a condition, which is true or false; it is of type %s", kind)
	}
	estimate, err := env.EstimateCost(ast, guess{})
	if err != nil {
		return nil, whole("its cost cannot be estimated: %v", err)
	}
	if estimate.Max > maxEstimate {
		return nil, whole("it may cost too much: %d steps, want at most %d; loops inside each other are what costs", estimate.Max, maxEstimate)
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, whole("%v", err)
	}
	return &Condition{text, program}, nil
}

// Holds evaluates the condition for an event. The error, as of a field that the body
// does not have, comes again with every evaluation. It names fields, never values.
func (c *Condition) Holds(e *event.Event) (bool, error) { return Read(e).Holds(c) }

// Reading is an event that conditions are evaluated for, one after the other. Its
// body is parsed once, for the first that looks into it. See [Read].
type Reading struct{ seen activation }

// Read returns the reading of an event.
func Read(e *event.Event) *Reading { return &Reading{activation{event: e}} }

// Holds is [Condition.Holds] for the event. It must not be called by two goroutines
// at once.
func (r *Reading) Holds(c *Condition) (bool, error) {
	out, _, err := c.program.Eval(&r.seen)
	if err != nil {
		return false, fmt.Errorf("condition %s: %s", shown(c.text), hint(err))
	}
	holds, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("condition %s: it is of type %s, want true or false", shown(c.text), out.Type().TypeName())
	}
	return holds, nil
}

// HoldsFor is [Reading.Holds] of a predicate for a subscription: its fields by name.
func (r *Reading) HoldsFor(c *Condition, subscription map[string]any) (bool, error) {
	r.seen.subscription = subscription
	return r.Holds(c)
}

// hint says what helps against the usual error.
func hint(err error) string {
	text := firstLine(err.Error())
	if strings.HasPrefix(text, "no such key: ") {
		name := strings.TrimPrefix(text, "no such key: ")
		return fmt.Sprintf("the event has no %s there; where it may be missing, ask has(….%s), or read ….?%s.orValue(\"\")", name, name, name)
	}
	return text
}

// shown is an expression in an error of an event.
func shown(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	const most = 60
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return "`" + text + "`"
}

// reason is a message of the compiler without all that it would have taken.
func reason(message string) string {
	text, _, _ := strings.Cut(firstLine(message), " expecting ")
	return text
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// offset is a place as the compiler names it, the line from 1 and the column from 0
// in characters, in bytes.
func offset(text string, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		end := strings.IndexByte(text[at:], '\n')
		if end < 0 {
			return -1
		}
		at += end + 1
	}
	for i := range text[at:] {
		if column == 0 {
			return at + i
		}
		column--
	}
	return len(text)
}

// activation finds what a condition names, when it asks for it: the body is parsed
// for those alone that look into it.
type activation struct {
	event        *event.Event
	subscription map[string]any
	body         any
	read         bool
}

// ResolveName finds a variable.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "body":
		if !a.read {
			a.body, a.read = document(a.event), true
		}
		return a.body, true
	case "headers":
		return headers(a.event), true
	case "values":
		return values(a.event), true
	case "subscription":
		return a.subscription, a.subscription != nil
	}
	if attribute, ok := strings.CutPrefix(name, "event."); ok {
		if of, ok := attributes[attribute]; ok {
			return of(a.event), true
		}
	}
	return nil, false
}

// Parent is nil: there are no other variables.
func (*activation) Parent() cel.Activation { return nil }

// adapter makes CEL's values of those of JSON. A number is an int where it is whole,
// as in Kubernetes.
type adapter struct{ types.Adapter }

// NativeToValue makes a value of CEL.
func (a adapter) NativeToValue(value any) ref.Val {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return types.Int(n)
		}
		f, err := v.Float64()
		if err != nil {
			return types.NewErr("number out of range")
		}
		return types.Double(f)
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	case time.Time:
		return types.Timestamp{Time: v}
	}
	return a.Adapter.NativeToValue(value)
}

// guess is the estimate's idea of events.
type guess struct{}

// EstimateSize guesses the size of what stands in an event.
func (guess) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	if len(n.Path()) == 0 {
		return nil
	}
	switch n.Type().Kind() {
	case types.StringKind, types.BytesKind:
		return &cost.SizeEstimate{Max: guessedText}
	}
	return &cost.SizeEstimate{Max: guessedList}
}

// EstimateCallCost is CEL's own.
func (guess) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}
