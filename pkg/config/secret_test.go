package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-hooks/belay/pkg/config"
)

func oneSecret(t *testing.T, ref string, opt config.Options) *config.Secret {
	t.Helper()
	f, err := config.Parse("belay.yaml", fmt.Appendf(nil, "sources:\n- {receiver: github, secrets: [%q]}\n", ref), opt)
	if err != nil {
		t.Fatal(err)
	}
	return f.Sources[0].Secrets[0]
}

func TestSecretValue(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return "file:" + path
	}
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"SET": "s3cret", "EMPTY": ""}[name]
		return v, ok
	}
	for _, test := range []struct{ name, ref, want, problem string }{
		{"variable", "env:SET", "s3cret", ""},
		{"variable that is not set", "env:UNSET", "", "the environment variable UNSET is not set, set it to the secret"},
		{"empty variable", "env:EMPTY", "", "the environment variable EMPTY is not set, set it to the secret"},
		{"file", write("a", "s3cret\n"), "s3cret", ""},
		{"file with a windows line end", write("b", "s3cret\r\n"), "s3cret", ""},
		{"spaces are part of a secret", write("c", " s3cret "), " s3cret ", ""},
		{"empty file", write("d", "\n"), "", "d is empty"},
		{"no file", "file:" + filepath.Join(dir, "none"), "", "none: no such file or directory"},
		{"directory", "file:" + dir, "", "is no file"},
		{"large file", write("e", strings.Repeat("s3cret", 20_000)), "", "e is over 65536 bytes"},
		{"inline", "s3cret", "s3cret", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := oneSecret(t, test.ref, config.Options{Dev: true, LookupEnv: lookup})
			got, err := s.Value()
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if test.problem == "" && err != nil || test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)) {
				t.Errorf("error %v, want %q", err, test.problem)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error shows the secret: %v", err)
			}
			var log bytes.Buffer
			slog.New(slog.NewJSONHandler(&log, nil)).Info("source", "secret", s, "copy", *s)
			if strings.Contains(log.String(), "s3cret") {
				t.Errorf("the log shows the secret: %s", log.String())
			}
		})
	}
}

func TestSecretFileIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "secret")
		step := 0
		write := func(content string) {
			step++
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			// The clock of the file system is not the test's.
			if err := os.Chtimes(path, time.Time{}, time.Unix(int64(step), 0)); err != nil {
				t.Fatal(err)
			}
		}
		write("old\n")
		s := oneSecret(t, "file:"+path, config.Options{})
		expect := func(want string, ok bool) {
			t.Helper()
			got, err := s.Value()
			if got != want || (err == nil) != ok {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		}
		expect("old", true)
		write("new\n")
		expect("old", true) // looked at within the last second
		<-time.After(time.Second)
		expect("new", true)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		expect("", false)
		write("again")
		<-time.After(time.Second)
		expect("again", true)

		// Another file of the same size and time, as tools make that set all times to one.
		other := path + ".next"
		was, err := os.Stat(path)
		if err == nil {
			err = errors.Join(os.WriteFile(other, []byte("AGAIN"), 0o600), os.Chtimes(other, time.Time{}, was.ModTime()), os.Rename(other, path))
		}
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		expect("AGAIN", true)
	})
}

func TestSecretReferencesNeedNoQuotes(t *testing.T) {
	for _, text := range []string{
		"sources:\n- {receiver: github, secrets: [env:A, file:/run/a:b, env:B]}\n",
		"sources:\n- receiver: github\n  secrets: [env:A, file:/run/a:b, env:B]\n",
		"sources:\n- receiver: github\n  secrets:\n  - env:A\n  - file:/run/a:b\n  - env:B\n",
		"{sources: [{receiver: github, secrets: [env:A, file:/run/a:b, env:B]}]}\n",
	} {
		f, err := config.Parse("belay.yaml", []byte(text), config.Options{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := fmt.Sprint(f.Sources[0].Secrets); got != "[env:A file:/run/a:b env:B]" {
			t.Errorf("%s: got %s", text, got)
		}
	}
}

func TestCheckSecrets(t *testing.T) {
	f, err := config.Parse("belay.yaml", []byte("sources:\n- receiver: github\n  secrets:\n  - env:A\n  - env:B\n"), config.Options{
		LookupEnv: func(name string) (string, bool) { return "x", name == "A" },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "belay.yaml:5: sources[0].secrets[1]: the environment variable B is not set, set it to the secret"
	if err := f.CheckSecrets(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
