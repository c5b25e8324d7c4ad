package config

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"time"
)

// watchEvery is how often the file is looked at. Reading a few kilobytes costs
// less than being wrong about what a mounted ConfigMap does to its links.
const watchEvery = 2 * time.Second

// Watch hands each new version of the file to apply, until the context ends. It
// looks every two seconds, and at once when reload says so (a SIGHUP; nil for
// none). A version that is not valid, or that apply refuses, is logged, and the
// configuration that runs stays. One that nothing is wrong with, but that cannot be
// taken on now, as while the broker is away, is tried again.
func (f *File) Watch(ctx context.Context, opt Options, reload <-chan struct{}, log *slog.Logger, apply func(*File) error) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	seen, unreadable := f, false
	var later error // why what was seen last could not be taken on yet
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-reload:
			asked = true
		case <-tick.C:
		}
		text, err := read(f.path)
		if err != nil {
			if !unreadable || asked {
				log.Error("configuration kept as it was: its file cannot be read", "error", err)
			}
			unreadable = true
			continue
		}
		unreadable = false
		news := asked || !bytes.Equal(text, seen.text) || seen.othersChanged()
		if !news && later == nil {
			continue
		}
		next, err := Parse(f.path, text, opt)
		seen = next
		if err == nil {
			err = apply(next)
		}
		before := later
		if later = err; isOfFile(err) {
			later = nil
		}
		switch {
		case err == nil:
			log.Info("configuration loaded", "file", f.path, "sources", len(next.Sources), "chains", len(next.Chains))
		case later == nil:
			log.Error("configuration kept as it was: the new one is not valid", "file", f.path, "error", next.located(err))
		case news || later.Error() != before.Error():
			log.Error("configuration kept as it was, the new one is tried again", "file", f.path, "error", err)
		}
	}
}

// isOfFile reports whether something is wrong with the file itself.
func isOfFile(err error) bool {
	return errors.As(err, new(*Problem)) || errors.As(err, new(*FieldError))
}

// othersChanged reports whether a file that this one refers to is another one now.
func (f *File) othersChanged() bool {
	for path, before := range f.others {
		if now, _ := readOther(path); !bytes.Equal(now, before) { // what cannot be read is nil
			return true
		}
	}
	return false
}

func (f *File) located(err error) error {
	if f == nil {
		return err
	}
	return f.Locate(err)
}
