package sources

import (
	"errors"
	"maps"
	"reflect"
	"slices"

	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/receiver"
)

// Declared is a receiver in a configuration file.
type Declared struct {
	receiver.Form `yaml:",inline"`
	// File is the path of a file that holds the receiver, relative to the
	// configuration file. Nothing stands beside it.
	File string `yaml:"file"`
	// Extends is a receiver of the catalogue. Every field that is left out here is
	// taken from it; one that stands here replaces it whole.
	Extends string `yaml:"extends"`
}

// Catalogue is Belay's catalogue with the receivers that the file declares. The
// error joins what is wrong with each, with its line; the catalogue has the others.
func Catalogue(f *config.File) (*receiver.Catalogue, error) {
	all := receiver.Builtin()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(f.Receivers)) {
		path := "receivers." + name
		if f.HasProblem(path) {
			continue // told
		}
		more, err := add(all, name, f.Receivers[name])
		if err != nil {
			errs = append(errs, f.Locate(under(path, err)))
			continue
		}
		all = more
	}
	return all, errors.Join(errs...)
}

func add(all *receiver.Catalogue, name string, node *config.Declared) (*receiver.Catalogue, error) {
	var d Declared
	if err := node.Decode(&d); err != nil {
		return nil, err
	}
	if d.Extends != "" {
		base, ok := receiver.Lookup(d.Extends)
		if !ok {
			return nil, &receiver.FieldError{Field: "extends", Value: d.Extends, Want: "a receiver of the catalogue, see belay receivers"}
		}
		inherit(&d.Form, base.Form)
	}
	r, err := receiver.New(name, d.Form)
	if err != nil {
		return nil, err
	}
	return all.With(r)
}

// inherit fills in what a form leaves out.
func inherit(f *receiver.Form, base receiver.Form) {
	base.Aliases = nil // they are the other's
	into, from := reflect.ValueOf(f).Elem(), reflect.ValueOf(base)
	for i := range into.NumField() {
		if into.Field(i).IsZero() {
			into.Field(i).Set(from.Field(i))
		}
	}
}
