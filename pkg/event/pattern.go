package event

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Pattern selects events by name. Its tokens are separated by dots; a final *
// matches the rest, one token or more, and elsewhere * matches one token:
// push, pull_request.*, *.opened, *.
type Pattern struct{ text string }

// Any matches every event.
var Any = Pattern{text: "*"}

// ParsePattern reads a pattern as people write it.
func ParsePattern(text string) (Pattern, error) {
	if text == "" {
		return Pattern{}, errors.New("an event pattern is empty; write * for all events")
	}
	for t := range strings.SplitSeq(text, ".") {
		if strings.Contains(t, "*") && t != "*" {
			return Pattern{}, fmt.Errorf("event pattern %q: * stands for a whole token between dots, not for a part of one", text)
		}
	}
	return Pattern{text: text}, nil
}

// String is the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Match reports whether the pattern selects an event of this name.
func (p Pattern) Match(name string) bool {
	pattern := p.text
	for {
		pt, prest, pmore := strings.Cut(pattern, ".")
		nt, nrest, nmore := strings.Cut(name, ".")
		switch {
		case pt == "*" && !pmore:
			return true
		case pt != "*" && pt != nt:
			return false
		case pmore != nmore:
			return false
		case !pmore:
			return true
		}
		pattern, name = prest, nrest
	}
}

// MatchAny reports whether one of the patterns selects the name. No patterns
// select everything.
func MatchAny(patterns []Pattern, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p Pattern) bool { return p.Match(name) })
}

// Filters returns the subjects that hold the events of these sources (github:
// all sources of a receiver, github/eu: one; none: all) with a name that one of
// the patterns selects (none: all). No two of them overlap, as the broker
// demands, so they may select more than was asked for: where a name decides,
// ask [MatchAny] too.
func Filters(from []string, patterns []Pattern) []string {
	if len(from) == 0 {
		from = []string{"*"}
	}
	if len(patterns) == 0 {
		patterns = []Pattern{Any}
	}
	var filters [][]string
	for _, f := range from {
		receiver, source, one := strings.Cut(f, "/")
		if !one {
			source = "*"
		}
		for _, p := range patterns {
			for _, name := range p.tokens() {
				filters = append(filters, append(
					[]string{"belay", "in", "*", wildToken(receiver), wildToken(source)}, name...))
			}
		}
	}
	filters = disjoint(filters)
	subjects := make([]string, len(filters))
	for i, f := range filters {
		subjects[i] = strings.Join(f, ".")
	}
	slices.Sort(subjects)
	return subjects
}

func wildToken(s string) string {
	if s == "*" {
		return s
	}
	return token(s)
}

// tokens is the pattern in the broker's form: of the name, and of the hashes of
// long names that it may select too.
func (p Pattern) tokens() [][]string {
	if !strings.Contains(p.text, "*") {
		return [][]string{strings.Split(nameTokens(p.text), ".")}
	}
	parts := strings.Split(p.text, ".")
	for i, t := range parts {
		parts[i] = wildToken(t)
	}
	if last := len(parts) - 1; parts[last] == "*" {
		parts[last] = ">"
	}
	if len(parts) == 1 {
		return [][]string{parts}
	}
	return [][]string{parts, {longName, "*", longName}}
}

// Intersect returns the subjects that select what both of two sets select. The
// subjects of each set must not overlap; those that are returned do not either.
func Intersect(a, b []string) []string {
	var both []string
	for _, x := range a {
		for _, y := range b {
			if t, ok := intersect(strings.Split(x, "."), strings.Split(y, ".")); ok {
				both = append(both, strings.Join(t, "."))
			}
		}
	}
	slices.Sort(both)
	return both
}

func intersect(a, b []string) ([]string, bool) {
	if !overlap(a, b) {
		return nil, false
	}
	var t []string
	for i := 0; i < max(len(a), len(b)); i++ {
		switch {
		case i < len(a) && a[i] == ">":
			return append(t, b[i:]...), true
		case i < len(b) && b[i] == ">":
			return append(t, a[i:]...), true
		case a[i] == "*":
			t = append(t, b[i])
		default:
			t = append(t, a[i])
		}
	}
	return t, true
}

// disjoint replaces every two filters that overlap by one that covers both.
func disjoint(filters [][]string) [][]string {
	for i := 0; i < len(filters); i++ {
		for j := i + 1; j < len(filters); j++ {
			if !overlap(filters[i], filters[j]) {
				continue
			}
			filters[i] = cover(filters[i], filters[j])
			filters = slices.Delete(filters, j, j+1)
			// What covers more may now meet a filter that was passed before.
			i, j = 0, 0
		}
	}
	return filters
}

func overlap(a, b []string) bool {
	for i := 0; ; i++ {
		switch {
		case i == len(a) || i == len(b):
			return len(a) == len(b)
		case a[i] == ">" || b[i] == ">":
			return true
		case a[i] != b[i] && a[i] != "*" && b[i] != "*":
			return false
		}
	}
}

// cover returns the narrowest filter that selects all that a and b select.
func cover(a, b []string) []string {
	var c []string
	for i := 0; i < len(a) && i < len(b); i++ {
		switch {
		case a[i] == ">" || b[i] == ">":
			return append(c, ">")
		case a[i] == b[i]:
			c = append(c, a[i])
		default:
			c = append(c, "*")
		}
	}
	return c // overlapping filters without > have the same length
}
