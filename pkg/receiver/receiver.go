// Package receiver is the catalogue of webhook providers: how each of them
// signs, what its deliveries and events are called, and what it wants to hear.
//
// A provider is one YAML file in the folder catalogue, of the form [Form]. A
// [Source] is a receiver with secrets: it verifies requests and turns them into
// events ([Source.Receive]), and signs requests as the provider would
// ([Source.Sign]). [Middleware] is the verification alone, for servers that want
// nothing else of Belay.
package receiver

import (
	"bytes"
	"embed"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

// Receiver is one provider of the catalogue.
type Receiver struct {
	// Form is the provider's file.
	Form
}

//go:embed catalogue/*.yaml
var files embed.FS

// catalogue maps slugs and aliases to receivers. The files are part of the
// program, so a broken one is a broken program.
var catalogue = sync.OnceValue(func() map[string]*Receiver {
	names, err := files.ReadDir("catalogue")
	if err != nil {
		panic("receiver: " + err.Error())
	}
	all := make(map[string]*Receiver, len(names))
	for _, n := range names {
		text, err := files.ReadFile(path.Join("catalogue", n.Name()))
		if err != nil {
			panic("receiver: " + err.Error())
		}
		r, err := parse(strings.TrimSuffix(n.Name(), ".yaml"), text)
		if err != nil {
			panic("receiver: " + err.Error())
		}
		for _, name := range append([]string{r.Slug}, r.Aliases...) {
			if all[name] != nil {
				panic("receiver: two receivers are called " + name)
			}
			all[name] = r
		}
	}
	return all
})

// Lookup finds a receiver by its slug or an alias, in any case.
func Lookup(name string) (*Receiver, bool) {
	r, ok := catalogue()[strings.ToLower(name)]
	return r, ok
}

// Names lists the slugs of the catalogue in alphabetical order.
func Names() []string {
	var names []string
	for name, r := range catalogue() {
		if name == r.Slug {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// ParamNames lists what a source of this receiver can set besides its secrets,
// in alphabetical order.
func (r *Receiver) ParamNames() []string {
	return slices.Sorted(maps.Keys(r.Params))
}

// parse reads a provider's file and fills in the defaults.
func parse(slug string, text []byte) (*Receiver, error) {
	r := &Receiver{}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&r.Form); err != nil {
		return nil, fmt.Errorf("%s.yaml: %w", slug, err)
	}
	r.Slug = slug
	if len(r.Methods) == 0 {
		r.Methods = []string{"POST"}
	}
	if r.MaxBody == 0 {
		r.MaxBody = defaultMaxBody
	}
	if len(r.Document) == 0 {
		r.Document = Templates{"{body}"}
	}
	if len(r.Signatures) == 0 {
		return nil, fmt.Errorf("%s.yaml: signatures: there are none, so anybody could send", slug)
	}
	return r, nil
}
