package event_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/belay-hooks/belay/pkg/event"
)

// Subjects may never change either: consumers find what is stored by them.
func TestSubject(t *testing.T) {
	for name, c := range map[string]struct{ receiver, source, event, want string }{
		"plain":           {"github", "default", "pull_request.opened", "belay.in.20.github.default.pull_request.opened"},
		"dashes":          {"standard-webhooks", "eu_1", "a-b.c_d", "belay.in.20.standard-webhooks.eu_1.a-b.c_d"},
		"escapes":         {"generic", "default", "order created/ü*>%", "belay.in.20.generic.default.order%20created%2F%C3%BC%2A%3E%25"},
		"no name":         {"generic", "default", "", "belay.in.20.generic.default.%"},
		"empty tokens":    {"generic", "default", ".a..b.", "belay.in.20.generic.default.%.a.%.b.%"},
		"256 bytes":       {"generic", "default", strings.Repeat("x", 256), "belay.in.20.generic.default." + strings.Repeat("x", 256)},
		"257 bytes":       {"generic", "default", strings.Repeat("x", 257), "belay.in.20.generic.default.%sha256.15eb95a462ee20bd91a415ae2d4aed341288186ddaa2b37908f7d592f0c3f85f.%sha256"},
		"long by escapes": {"generic", "default", strings.Repeat(" ", 86), "belay.in.20.generic.default.%sha256.f58a84ba4ea67afeb6ce4ae23dec47a561a58e25ace7961b086a80110c1e5e31.%sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			e := event.Event{ID: "1", Receiver: c.receiver, SourceID: c.source, Type: event.TypeOf(c.receiver, c.event)}
			if got := e.Subject(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestPatternMatch(t *testing.T) {
	for pattern, names := range map[string]struct{ matches, not []string }{
		"push":           {[]string{"push"}, []string{"", "Push", "push.a", "pus"}},
		"pull_request.*": {[]string{"pull_request.opened", "pull_request.a.b", "pull_request."}, []string{"pull_request", "pull_requests.a", "a.pull_request.b"}},
		"*.opened":       {[]string{"issues.opened", ".opened"}, []string{"opened", "a.b.opened", "issues.opened.a", "issues.closed"}},
		"*":              {[]string{"", "a", "a.b.c", "*"}, nil},
		"*.*":            {[]string{"a.b", "a.b.c", "."}, []string{"", "a"}},
		"a.*.c":          {[]string{"a.b.c", "a..c"}, []string{"a.c", "a.b.b.c", "a.b.c.d", "a.b"}},
		"a.":             {[]string{"a."}, []string{"a", "a.b"}},
	} {
		p, err := event.ParsePattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names.matches {
			if !p.Match(name) {
				t.Errorf("%s does not match %q", pattern, name)
			}
		}
		for _, name := range names.not {
			if p.Match(name) {
				t.Errorf("%s matches %q", pattern, name)
			}
		}
	}
	for _, text := range []string{"", "a*", "*a", "a.**", "a.b*.c"} {
		if p, err := event.ParsePattern(text); err == nil {
			t.Errorf("%q was read as %q", text, p)
		}
	}
}

func TestFilters(t *testing.T) {
	const long = ".%sha256.*.%sha256"
	for name, c := range map[string]struct{ from, patterns, want []string }{
		"all":          {nil, nil, []string{"belay.in.*.*.*.>"}},
		"a receiver":   {[]string{"github"}, nil, []string{"belay.in.*.github.*.>"}},
		"a source":     {[]string{"github/eu"}, []string{"*"}, []string{"belay.in.*.github.eu.>"}},
		"overlapping":  {[]string{"github", "github/eu"}, nil, []string{"belay.in.*.github.*.>"}},
		"names":        {[]string{"github"}, []string{"push", "a b"}, []string{"belay.in.*.github.*.a%20b", "belay.in.*.github.*.push"}},
		"a family":     {[]string{"github"}, []string{"issues.*", "issues.opened"}, []string{"belay.in.*.github.*" + long, "belay.in.*.github.*.issues.>"}},
		"an end":       {[]string{"github"}, []string{"*.opened"}, []string{"belay.in.*.github.*" + long, "belay.in.*.github.*.*.opened"}},
		"two crossing": {[]string{"github"}, []string{"*.b", "a.*"}, []string{"belay.in.*.github.*.*.>"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := event.Filters(c.from, parse(t, c.patterns)); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func parse(t rapid.TB, texts []string) []event.Pattern {
	t.Helper()
	var patterns []event.Pattern
	for _, text := range texts {
		p, err := event.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		patterns = append(patterns, p)
	}
	return patterns
}

// selects is the broker's rule of subjects, written anew
// (https://docs.nats.io/nats-concepts/subjects): * is one token, a final > the
// rest, one token or more.
func selects(filter, subject string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, token := range f {
		if token == ">" {
			return i == len(f)-1 && len(s) > i
		}
		if i >= len(s) || s[i] == "" || token != "*" && token != s[i] {
			return false
		}
	}
	return len(f) == len(s)
}

// collide tells whether a subject exists that both select: the broker refuses a
// consumer with two such filters.
func collide(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i < len(x) && i < len(y); i++ {
		if x[i] == ">" || y[i] == ">" {
			return true
		}
		if x[i] != y[i] && x[i] != "*" && y[i] != "*" {
			return false
		}
	}
	return len(x) == len(y)
}

// checkFilters holds Filters to its promise for one event.
func checkFilters(t rapid.TB, from []string, patterns []event.Pattern, e event.Event) {
	t.Helper()
	filters := event.Filters(from, patterns)
	for i, a := range filters {
		for _, b := range filters[i+1:] {
			if collide(a, b) {
				t.Errorf("the filters %s and %s overlap", a, b)
			}
		}
	}
	wanted := len(from) == 0 || slices.Contains(from, e.Receiver) || slices.Contains(from, e.Receiver+"/"+e.SourceID)
	if !wanted || !event.MatchAny(patterns, e.Name()) {
		return
	}
	subject := e.Subject()
	if !slices.ContainsFunc(filters, func(f string) bool { return selects(f, subject) }) {
		t.Errorf("%q of %v matches %v, but its subject %s is not selected by %q", e.Name(), from, patterns, subject, filters)
	}
}

func TestFiltersSelectWhatPatternsMatch(t *testing.T) {
	token := rapid.SampledFrom([]string{"a", "b", "c", "", "a b", "%", ">", strings.Repeat("x", 300)})
	wild := rapid.OneOf(token, rapid.Just("*"))
	join := func(tokens []string) string { return strings.Join(tokens, ".") }
	pattern := rapid.Map(rapid.SliceOfN(wild, 1, 4), join).Filter(func(s string) bool { return s != "" })
	source := rapid.SampledFrom([]string{"r", "q", "r/s", "r/u", "q/s"})
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.SliceOfN(source, 0, 3).Draw(t, "from")
		patterns := parse(t, rapid.SliceOfN(pattern, 0, 4).Draw(t, "patterns"))
		e := event.Event{ID: "1", Receiver: rapid.SampledFrom([]string{"r", "q"}).Draw(t, "receiver"), SourceID: "s"}
		e.Type = event.TypeOf(e.Receiver, join(rapid.SliceOfN(token, 0, 4).Draw(t, "name")))
		checkFilters(t, from, patterns, e)
	})
}

func FuzzPattern(f *testing.F) {
	for _, seed := range [][3]string{
		{"push", "*", "push"}, {"pull_request.*", "*.opened", "pull_request.opened"},
		{"a.*.c", "*.*", "a.b.c"}, {"*.", ".*", "."}, {"a.*", "b", "a." + strings.Repeat(" ", 100)},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, first, second, name string) {
		var patterns []event.Pattern
		for _, text := range []string{first, second} {
			p, err := event.ParsePattern(text)
			if err != nil {
				return
			}
			if p.String() != text {
				t.Errorf("%q is written as %q", text, p)
			}
			// A text without a wildcard is a pattern of that one name.
			if !strings.Contains(text, "*") && (p.Match(name) != (text == name) || !p.Match(text)) {
				t.Errorf("%q: match of %q is %v", text, name, p.Match(name))
			}
			patterns = append(patterns, p)
		}
		checkFilters(t, []string{"r"}, patterns, event.Event{ID: "1", Receiver: "r", SourceID: "s", Type: event.TypeOf("r", name)})
	})
}
