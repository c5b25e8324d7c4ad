package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The project builds and passes its own test against this checkout.
func TestNewWorker(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	out, _, err := belay(t, "new", "worker", dir, "--module", "github.com/acme/shop")
	if err != nil || !strings.Contains(out, "go mod tidy") {
		t.Fatalf("%s %v", out, err)
	}
	if _, _, err := belay(t, "check", "--no-secrets", filepath.Join(dir, "belay.yaml")); err != nil {
		t.Error(err)
	}
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"mod", "edit", "-require", "github.com/belay-hooks/belay@v0.0.0", "-replace", "github.com/belay-hooks/belay=" + checkout},
		{"vet", "-mod=mod", "./..."}, {"build", "-mod=mod", "-o", os.DevNull, "."}, {"test", "-mod=mod", "./..."},
	} {
		run := exec.CommandContext(t.Context(), "go", args...)
		run.Dir, run.Env = dir, append(os.Environ(), "GOFLAGS=", "GOWORK=off")
		if out, err := run.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "go.mod")); err != nil || !strings.HasPrefix(string(text), "module github.com/acme/shop\n") {
		t.Errorf("%s %v", text, err)
	}
}

func TestNewWorkerOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := belay(t, "new", "worker", dir); err == nil || !strings.Contains(err.Error(), "main.go is there already") {
		t.Errorf("got %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}

func TestNewWorkerWantsAModule(t *testing.T) {
	for _, path := range []string{"a b", "../x", "a//b", "-x", `a"b`} {
		_, _, err := belay(t, "new", "worker", filepath.Join(t.TempDir(), "w"), "--module="+path)
		var exit *exitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
			t.Errorf("%q: %v", path, err)
		}
	}
}
