package seal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func load(t *testing.T, path string) *Box {
	t.Helper()
	b, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSeal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset.json")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	if err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second one: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	first := load(t, path)
	sealed, err := first.Seal([]byte("whsec_x"), "a.1")
	if err != nil || strings.Contains(string(sealed), "whsec_x") {
		t.Fatalf("%q, %v", sealed, err)
	}
	if text, err := load(t, path).Open(sealed, "a.1"); err != nil || string(text) != "whsec_x" {
		t.Errorf("opened %q, %v", text, err)
	}
	for name, place := range map[string]string{"another place": "a.2", "no place": ""} {
		if _, err := first.Open(sealed, place); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Rotate(path); err != nil {
		t.Fatal(err)
	}
	second := load(t, path)
	if text, err := second.Open(sealed, "a.1"); err != nil || string(text) != "whsec_x" {
		t.Errorf("after a rotation: %q, %v", text, err)
	}
	newer, err := second.Seal([]byte("whsec_y"), "a.1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Open(newer, "a.1"); !errors.Is(err, ErrOpen) {
		t.Errorf("the old keyset opens what the new key has encrypted: %v", err)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "no JSON": "secret-key", "other JSON": `{"key":"secret-key"}`, "large": strings.Repeat("a", maxKeyset+1)} {
		path := filepath.Join(dir, "keyset")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || strings.Contains(err.Error(), "secret-key") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
