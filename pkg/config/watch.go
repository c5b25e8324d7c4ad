package config

import (
	"bytes"
	"context"
	"log/slog"
	"time"
)

// watchEvery is how often the file is looked at. Reading a few kilobytes costs
// less than being wrong about what a mounted ConfigMap does to its links.
const watchEvery = 2 * time.Second

// Watch hands each new version of the file to apply, until the context ends. It
// looks every two seconds, and at once when reload says so (a SIGHUP; nil for
// none). A version that is not valid, or that apply refuses, is logged, and the
// configuration that runs stays.
func (f *File) Watch(ctx context.Context, opt Options, reload <-chan struct{}, log *slog.Logger, apply func(*File) error) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	seen, unreadable := f, false
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
		if bytes.Equal(text, seen.text) && !seen.othersChanged() && !asked {
			continue
		}
		next, err := Parse(f.path, text, opt)
		seen = next
		if err == nil {
			err = apply(next)
		}
		if err != nil {
			log.Error("configuration kept as it was: the new one is not valid", "file", f.path, "error", next.located(err))
			continue
		}
		log.Info("configuration loaded", "file", f.path, "sources", len(next.Sources), "chains", len(next.Chains))
	}
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
