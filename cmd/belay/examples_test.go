package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/pkg/config"
)

func TestExamplesAreValid(t *testing.T) {
	files, err := filepath.Glob("../../examples/*/belay.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		if _, stderr, err := belay(t, "check", "--no-secrets", file); err != nil {
			t.Errorf("%v\n%s", err, stderr)
		}
	}
}

// The page about handlers has each of them, with an example that is valid.
func TestHandlersOfThePageAreValid(t *testing.T) {
	page, err := os.ReadFile("../../docs/handlers.md")
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\| .* \\| `(.*)` \\|$").FindAllStringSubmatch(string(page), -1) {
		kinds = append(kinds, row[1])
		valid(t, "chains: [{name: a, handlers: [{name: b, "+row[2]+"}]}]\n")
	}
	if slices.Sort(kinds); !slices.Equal(kinds, slices.Sorted(slices.Values(config.Kinds()))) {
		t.Errorf("the page has %q", kinds)
	}
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		valid(t, "sources:\n- {receiver: github, id: eu, secrets: [env:A]}\n"+block[1])
	}
}

func valid(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "belay.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := belay(t, "check", "--no-secrets", path); err != nil {
		t.Errorf("%s\n%v\n%s", text, err, strings.ReplaceAll(stderr, path, ""))
	}
}
