// Package sources makes the sources of a configuration file: it joins what the
// file says with what the catalogue of receivers knows. Neither of the two
// packages knows the other.
package sources

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/receiver"
)

// fetcher keeps the keys and certificates of all sources of the process, so that
// a reload fetches none of them again.
var fetcher = sync.OnceValue(func() *receiver.Fetcher { return receiver.NewFetcher(receiver.FetcherConfig{}) })

// Build makes the sources of the file. The error joins what is wrong with each,
// and with the receivers that the file declares, with its line.
func Build(f *config.File) ([]*receiver.Source, error) {
	all, err := Catalogue(f)
	var (
		built []*receiver.Source
		errs  = []error{err}
	)
	for i := range f.Sources {
		path := fmt.Sprintf("sources[%d]", i)
		name := f.Sources[i].Receiver
		if _, known := all.Lookup(name); !known && f.Receivers[name] != nil {
			continue // what is wrong with the receiver is told
		}
		source, err := all.NewSource(sourceConfig(f, &f.Sources[i]))
		if err != nil {
			errs = append(errs, f.Locate(under(path, err)))
			continue
		}
		built = append(built, source)
	}
	return built, errors.Join(errs...)
}

// Canonical writes every receiver of the file by its name in the catalogue
// instead of an alias: that is what events carry, and so what chains select by.
// A receiver that is not in the catalogue is left alone, for [Build] to tell. Two
// sources that become the same one are an error.
func Canonical(f *config.File) error {
	all, _ := Catalogue(f) // what is wrong with it is Build's to tell
	canonical := func(name string) string {
		if r, ok := all.Lookup(name); ok {
			return r.Slug
		}
		return name
	}
	seen := map[string]bool{}
	for i := range f.Sources {
		s := &f.Sources[i]
		s.Receiver = canonical(s.Receiver)
		if seen[s.Name()] {
			return f.Locate(&config.FieldError{
				Path: fmt.Sprintf("sources[%d].receiver", i), Value: s.Name(),
				Want: "another source has this receiver, under an alias, and this id: want another id",
			})
		}
		seen[s.Name()] = true
	}
	for i := range f.Chains {
		c := &f.Chains[i]
		canonicalFrom(c.From, canonical)
		for j := range c.Handlers {
			canonicalFrom(c.Handlers[j].From, canonical)
		}
	}
	return nil
}

func canonicalFrom(from []string, canonical func(string) string) {
	for i, name := range from {
		slug, id, one := strings.Cut(name, "/")
		if from[i] = canonical(slug); one {
			from[i] += "/" + id
		}
	}
}

func sourceConfig(f *config.File, s *config.Source) receiver.SourceConfig {
	secrets := make([]receiver.Secret, 0, len(s.Secrets))
	for _, secret := range s.Secrets {
		if secret != nil { // of a file that has problems
			secrets = append(secrets, secret)
		}
	}
	c := receiver.SourceConfig{
		Fetcher: fetcher(), Receiver: s.Receiver, ID: s.ID, Secrets: secrets, Tolerance: s.Tolerance.Std(), Timeout: s.Timeout.Std(),
		Params: s.Params, Key: s.Key, MaxBody: s.MaxBody, MaxHeader: s.MaxHeader, RequireHTTPS: s.RequireHTTPS,
	}
	if c.RequireHTTPS == nil && f.Dev() {
		c.RequireHTTPS = new(bool) // a machine of one's own has no certificate
	}
	if s.RateLimit != nil {
		c.Rate = receiver.Rate{PerSecond: s.RateLimit.PerSecond, Burst: s.RateLimit.Burst}
	}
	if s.Answer != nil {
		c.Wait.Chain = s.Answer.Wait
		if chain := f.Chain(s.Answer.Wait); chain != nil {
			c.Wait.Events = chain.Events // of the others no answer comes
		}
	}
	return c
}

// under gives a receiver's error the path that it has in the file.
func under(path string, err error) error {
	if located, ok := errors.AsType[config.Problems](err); ok {
		return located
	}
	field, ok := errors.AsType[*receiver.FieldError](err)
	if !ok {
		return &config.FieldError{Path: path, Want: err.Error()}
	}
	if field.Field != "" {
		path += "." + field.Field
	}
	return &config.FieldError{Path: path, Value: field.Value, Want: "want " + field.Want}
}

// URL is the path that a source is served at, below the prefix.
func URL(prefix string, s *receiver.Source) string {
	name := strings.TrimSuffix(s.Name(), "/"+config.DefaultSourceID)
	return strings.TrimSuffix(prefix, "/") + "/" + name
}
