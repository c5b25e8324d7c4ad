package receiver

import (
	"cmp"
	"embed"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/agnivade/levenshtein"
)

// A Catalogue is a set of receivers by name: Belay's own ([Builtin]), and those
// that a user adds. It does not change.
type Catalogue struct {
	receivers map[string]*Receiver // by slug and alias
}

//go:embed catalogue/*.yaml
var files embed.FS

// Builtin is the catalogue of the providers that Belay knows.
var Builtin = sync.OnceValue(func() *Catalogue {
	names, err := files.ReadDir("catalogue")
	if err != nil {
		panic("receiver: " + err.Error())
	}
	// The files are part of the program, so a broken one is a broken program.
	c := &Catalogue{make(map[string]*Receiver, len(names))}
	for _, n := range names {
		text, err := files.ReadFile(path.Join("catalogue", n.Name()))
		if err != nil {
			panic("receiver: " + err.Error())
		}
		r, err := parse(strings.TrimSuffix(n.Name(), ".yaml"), text)
		if err == nil {
			err = c.add(r)
		}
		if err != nil {
			panic("receiver: " + err.Error())
		}
	}
	return c
})

// Lookup finds a receiver of Belay's own by its slug or an alias, in any case.
func Lookup(name string) (*Receiver, bool) { return Builtin().Lookup(name) }

// Names lists the slugs of Belay's own receivers in alphabetical order.
func Names() []string { return Builtin().Names() }

// With is the catalogue and one receiver more. The error is a [*FieldError]: the
// name, or an alias, is that of another receiver.
func (all *Catalogue) With(r *Receiver) (*Catalogue, error) {
	more := &Catalogue{maps.Clone(all.receivers)}
	return more, more.add(r)
}

func (all *Catalogue) add(r *Receiver) error {
	for i, name := range append([]string{r.Slug}, r.Aliases...) {
		if other, taken := all.receivers[name]; taken {
			want := fmt.Sprintf("another name: the catalogue has a receiver %s (%s)", other.Slug, other.Name)
			if i > 0 {
				return &FieldError{Field: fmt.Sprintf("aliases[%d]", i-1), Value: name, Want: want}
			}
			return &FieldError{Value: name, Want: want}
		}
		all.receivers[name] = r
	}
	return nil
}

// Lookup finds a receiver by its slug or an alias, in any case.
func (all *Catalogue) Lookup(name string) (*Receiver, bool) {
	r, ok := all.receivers[strings.ToLower(name)]
	return r, ok
}

// Names lists the slugs in alphabetical order.
func (all *Catalogue) Names() []string {
	var names []string
	for name, r := range all.receivers {
		if name == r.Slug {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// maxNear is how many names [Catalogue.Near] finds at the most.
const maxNear = 3

// Near finds the names and aliases that a misspelt one may be meant to be, the
// likeliest first. There may be none.
func (all *Catalogue) Near(name string) []string {
	name = strings.ToLower(name[:min(len(name), maxID)])
	far := func(other string) int { return levenshtein.ComputeDistance(name, other) }
	var near []string
	for other := range all.receivers {
		if far(other) <= len(name)/3 {
			near = append(near, other)
		}
	}
	slices.SortFunc(near, func(a, b string) int { return cmp.Or(far(a)-far(b), strings.Compare(a, b)) })
	return near[:min(len(near), maxNear)]
}
