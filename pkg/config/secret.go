package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Secret is a reference to a secret: env:NAME, file:/path, or, with serve --dev
// only, the secret itself. It can be printed, logged and encoded, which shows
// the reference and never the secret.
type Secret struct {
	ref   string // what may be shown
	value func() (string, error)
}

// Value is the secret as it is now: a file that has changed is read again. It
// is never empty without an error, and cheap enough to ask for every request.
func (s Secret) Value() (string, error) {
	if s.value == nil {
		return "", errors.New("the secret refers to nothing, want env:NAME or file:/path")
	}
	return s.value()
}

// String is the reference. It is "[inline]" for a secret that stands in the file.
func (s Secret) String() string { return s.ref }

// GoString is String.
func (s Secret) GoString() string { return s.ref }

// Format prints the reference, whatever the verb.
func (s Secret) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, s.ref) }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.ref) }

// MarshalText writes the reference.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.ref), nil }

// MarshalJSON writes the reference as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return strconv.AppendQuote(nil, s.ref), nil }

// MarshalYAML writes the reference.
func (s Secret) MarshalYAML() (any, error) { return s.ref, nil }

// NewSecret reads a reference as the configuration file's are read.
func NewSecret(ref string, opt Options) (*Secret, error) {
	s, want := parseSecret(ref, opt)
	if want != "" {
		return nil, errors.New(want)
	}
	return &s, nil
}

// parseSecret reads a reference, or says what would be one.
func parseSecret(text string, opt Options) (s Secret, want string) {
	if name, ok := strings.CutPrefix(text, "env:"); ok {
		if !isEnvName(name) {
			return s, "want the name of an environment variable after env:"
		}
		return Secret{ref: text, value: envValue(name, opt.LookupEnv)}, ""
	}
	if path, ok := strings.CutPrefix(text, "file:"); ok {
		if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
			return s, "want an absolute path after file:"
		}
		return Secret{ref: text, value: (&fileSecret{path: path}).get}, ""
	}
	switch {
	case text == "":
		return s, "an empty secret, want env:NAME or file:/path"
	case !opt.Dev:
		return s, "a secret stands in the file, want env:NAME or file:/path (inline only with serve --dev)"
	}
	return Secret{ref: "[inline]", value: func() (string, error) { return text, nil }}, ""
}

func isEnvName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

func envValue(name string, lookup func(string) (string, bool)) func() (string, error) {
	return func() (string, error) {
		if lookup != nil {
			if v, ok := lookup(name); ok && v != "" {
				return v, nil
			}
		}
		return "", fmt.Errorf("the environment variable %s is not set, set it to the secret", name)
	}
}

const (
	// statEvery bounds how often a secret's file is looked at.
	statEvery = time.Second
	// maxSecret bounds a secret's file: a path that names something else by
	// mistake is not read into memory.
	maxSecret = 64 << 10
)

// A fileSecret remembers a file's content until the file changes.
type fileSecret struct {
	path string

	mu      sync.Mutex
	checked time.Time
	seen    os.FileInfo // of what was read
	value   string
	err     error
}

func (s *fileSecret) get() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.checked.IsZero() || now.Sub(s.checked) >= statEvery {
		s.checked = now
		s.refresh()
	}
	return s.value, s.err
}

// refresh reads the file if it is another one than before. A file that cannot
// be read is an error at once, even if it could be read earlier: taking away the
// file takes away the secret.
func (s *fileSecret) refresh() {
	info, err := os.Stat(s.path)
	switch {
	case err != nil:
		s.fail(err)
	case !info.Mode().IsRegular():
		s.fail(fmt.Errorf("%s is no file", s.path))
	case info.Size() > maxSecret:
		s.fail(fmt.Errorf("%s is over %d bytes", s.path, maxSecret))
	case s.err == nil && s.value != "" && sameFile(info, s.seen):
	default:
		content, err := os.ReadFile(s.path)
		if err != nil {
			s.fail(err)
			return
		}
		value := strings.TrimRight(string(content), "\r\n")
		if value == "" {
			s.fail(fmt.Errorf("%s is empty", s.path))
			return
		}
		s.value, s.err, s.seen = value, nil, info
	}
}

func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (s *fileSecret) fail(err error) {
	s.value, s.err = "", fmt.Errorf("read a secret: %w, want a file that holds it", err)
}
