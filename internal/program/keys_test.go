package program

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-hooks/belay/pkg/config"
)

func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte("one\nacme=two, three\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, text, err string
		want            []string
	}{
		{name: "none"},
		{name: "themselves", text: "one, acme=two", want: []string{"one", "acme=two"}},
		{name: "of a file", text: "file:" + path, want: []string{"one", "acme=two", "three"}},
		{name: "of a file that is not there", text: "file:" + path + ".no", err: "no such file"},
		{name: "of a path that is not whole", text: "file:keys", err: "want an absolute path"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Keys(config.Redacted(test.text))
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Fatalf("got %v, want %q", err, test.err)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWatchKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	synctest.Test(t, func(t *testing.T) {
		write := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			<-time.After(3 * keysEvery)
		}
		write("one")
		var applied []string
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- WatchKeys(config.Redacted("file:"+path), slog.New(slog.NewTextHandler(&log, nil)), func(keys []string) error {
				if slices.Contains(keys, "bad") {
					return errors.New("it is not a key")
				}
				applied = append(applied, strings.Join(keys, ","))
				return nil
			}).Run(ctx)
		}()
		synctest.Wait()
		write("one\ntwo22")
		write("bad")
		write("three")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		write("four4")
		cancel()
		if err := <-ended; err != nil || !slices.Equal(applied, []string{"one,two22", "three", "four4"}) {
			t.Errorf("%v, applied %q", err, applied)
		}
		if n := strings.Count(log.String(), "it is not a key"); n != 1 {
			t.Errorf("told %d times that the keys are refused, want once:\n%s", n, &log)
		}
		if strings.Contains(log.String(), "two22") {
			t.Errorf("a key is in the log:\n%s", &log)
		}
	})
}
