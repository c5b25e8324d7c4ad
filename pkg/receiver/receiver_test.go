package receiver

import (
	"slices"
	"strings"
	"testing"
)

func TestCatalogue(t *testing.T) {
	for _, name := range Names() {
		r, ok := Lookup(name)
		if !ok || r.Slug != name || r.Name == "" || !strings.HasPrefix(r.Docs, "https://") {
			t.Errorf("%s: found %v as %+v", name, ok, r)
		}
		for param, p := range r.Params {
			if p.About == "" {
				t.Errorf("%s: the parameter %s says nothing about itself", name, param)
			}
		}
		newSource(t, SourceConfig{Receiver: name, Secrets: []Secret{secretFor(t, r)}}) // it compiles
	}
}

func TestLookup(t *testing.T) {
	for name, want := range map[string]string{
		"github": "github", "GitHub": "github", "standardwebhooks": "standard-webhooks", "nobody": "",
	} {
		r, ok := Lookup(name)
		if ok != (want != "") || ok && r.Slug != want {
			t.Errorf("%s: found %v, want %q", name, r, want)
		}
	}
}

func TestParseRefusesWhatItDoesNotKnow(t *testing.T) {
	for name, text := range map[string]string{
		"an unknown field": "name: X\nsignature: []\n",
		"no signatures":    "name: X\n",
		"no YAML":          "{",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse("x", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), "x.yaml: ") {
				t.Errorf("error %v, want one that names the file", err)
			}
		})
	}
}

func TestNear(t *testing.T) {
	for name, want := range map[string][]string{
		"gihtub":                   {"github"},
		"GitHib":                   {"github", "gitlab"},
		"strpe":                    {"stripe"},
		"nothing":                  nil,
		"":                         nil,
		strings.Repeat("x", 1<<20): nil,
	} {
		if got := Builtin().Near(name); !slices.Equal(got, want) {
			t.Errorf("near %.20q are %q, want %q", name, got, want)
		}
	}
}
