package config_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-hooks/belay/pkg/config"
)

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "belay.yaml")
		write := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("generation: 1\n")
		f, err := config.Load(path, config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var (
			mu      sync.Mutex // the bubble's clock orders what happens, and the race detector wants to hear of it
			log     lockedBuffer
			applied int
			refuse  error
		)
		reload := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.Watch(ctx, config.Options{}, reload, slog.New(slog.NewTextHandler(&log, nil)), func(f *config.File) error {
				mu.Lock()
				defer mu.Unlock()
				if refuse == nil {
					applied = f.Generation
				}
				return refuse
			})
		}()
		answer := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			refuse = err
		}
		wait := func(want int, logged string) {
			t.Helper()
			<-time.After(2 * time.Second)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if applied != want {
				t.Errorf("generation %d runs, want %d", applied, want)
			}
			if got := log.take(); !strings.Contains(got, logged) || logged == "" && got != "" {
				t.Errorf("the log is %q, want %q in it", got, logged)
			}
		}
		wait(0, "") // as it was: nothing to do
		write("generation: 2\n")
		wait(2, "configuration loaded")
		write("generation: two\n")
		wait(2, "want a whole number")
		wait(2, "") // told once
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		wait(2, "cannot be read")
		wait(2, "")
		answer(&config.FieldError{Path: "generation", Want: "want another"})
		write("# a line\ngeneration: 3\n")
		wait(2, "belay.yaml:2: generation: want another")
		answer(errors.New("no"))
		reload <- struct{}{}
		wait(2, "error=no")
		answer(nil)
		reload <- struct{}{}
		wait(3, "configuration loaded")
		answer(errors.New("the broker is away"))
		write("generation: 4\n")
		wait(3, "the broker is away")
		wait(3, "") // told once
		answer(nil)
		wait(4, "configuration loaded")
		wait(4, "")
		cancel()
		<-done
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

func TestWatchSeesOtherFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write := func(name, text string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("acme.yaml", "name: a")
		write("belay.yaml", "receivers: {acme: {file: acme.yaml}}")
		f, err := config.Load(filepath.Join(dir, "belay.yaml"), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		applied := 0
		go f.Watch(t.Context(), config.Options{}, nil, slog.New(slog.DiscardHandler), func(*config.File) error {
			applied++
			return nil
		})
		look := func(want int) {
			t.Helper()
			<-time.After(5 * time.Second) // of the bubble's time
			synctest.Wait()
			if applied != want {
				t.Errorf("applied %d times, want %d", applied, want)
			}
		}
		look(0)
		write("acme.yaml", "name: b")
		look(1)
		if err := os.Remove(filepath.Join(dir, "acme.yaml")); err != nil {
			t.Fatal(err)
		}
		look(1)
		write("acme.yaml", "name: b")
		look(2)
	})
}
