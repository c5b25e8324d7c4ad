package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/receiver"
)

// A sourceChoice is how flags say which source is meant: one of a configuration
// file or, with a secret, one made of the flags.
type sourceChoice struct {
	name   string // github, or github/eu
	secret receiver.Secret
	params map[string]string
	config string // empty: the demo's
}

// source finds or makes the source, and the others of the file.
func (c sourceChoice) source() (one *receiver.Source, others []*receiver.Source, err error) {
	file, where, err := c.file()
	if err != nil {
		return nil, nil, err
	}
	known, err := sources.Catalogue(file)
	if err != nil {
		return nil, nil, err
	}
	name, id, _ := strings.Cut(c.name, "/")
	r, ok := known.Lookup(name)
	if !ok {
		return nil, nil, unknownReceiver(known, name)
	}
	if id == "" {
		id = config.DefaultSourceID
	}
	if c.secret != nil {
		one, err = known.NewSource(receiver.SourceConfig{
			Receiver: r.Slug, ID: id, Secrets: []receiver.Secret{c.secret}, Params: c.params,
		})
		return one, nil, err
	}
	if err := sources.Canonical(file); err != nil {
		return nil, nil, err
	}
	all, err := sources.Build(file)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range all {
		if s.Name() == r.Slug+"/"+id {
			return s, all, nil
		}
	}
	return nil, nil, fmt.Errorf("%s has no source %s/%s, give --secret or a --config that has it", where, r.Slug, id)
}

func (c sourceChoice) file() (f *config.File, where string, err error) {
	opt := config.Options{Dev: true, LookupEnv: os.LookupEnv}
	if c.config == "" {
		f, err = demoFile(demoYAML, opt)
		return f, "the demo configuration of serve --dev", err
	}
	f, err = config.Load(c.config, opt)
	return f, c.config, err
}

// unknownReceiver is the error for a name that no receiver has.
func unknownReceiver(known *receiver.Catalogue, name string) error {
	hint := "a sender that signs by an HMAC can be generic, and the configuration file can declare others"
	if near := known.Near(name); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("no receiver is called %q, belay receivers lists them; %s", name, hint)
}
