package schema_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/belay-hooks/belay/internal/schema"
	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/receiver"
)

var update = flag.Bool("update", false, "write the schemas")

const module = "github.com/belay-hooks/belay"

// The schemas are what the structs and their comments say now.
func TestSchemasFollowTheStructs(t *testing.T) {
	t.Chdir("../..")
	declared := generate(t, &sources.Declared{}, "a receiver of Belay")
	file := generate(t, &config.File{}, "the configuration of Belay")
	for name, definition := range declared.Definitions {
		if _, taken := file.Definitions[name]; taken {
			t.Fatalf("two types are called %s", name)
		}
		file.Definitions[name] = definition
	}
	for name, s := range map[string]*jsonschema.Schema{"belay.json": file, "receiver.json": declared} {
		refine(s)
		want, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("internal", "schema", name)
		if *update {
			if err := os.WriteFile(path, append(want, '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(bytes.TrimSpace(got), want) {
			t.Errorf("%s is not what the structs say (%v): go test ./internal/schema -update", path, err)
		}
	}
}

func generate(t *testing.T, of any, title string) *jsonschema.Schema {
	t.Helper()
	r := &jsonschema.Reflector{FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true, Anonymous: true, Mapper: special}
	for _, path := range []string{"./pkg/config", "./pkg/receiver", "./internal/sources"} {
		if err := r.AddGoComments(module, path, jsonschema.WithFullComment()); err != nil {
			t.Fatal(err)
		}
	}
	s := r.Reflect(of)
	s.Title = title
	return s
}

// special are the types that are not written as they are kept.
func special(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[config.Duration](), reflect.TypeFor[time.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`, Examples: []any{"300ms", "30s", "5m"}}
	case reflect.TypeFor[config.Secret]():
		return &jsonschema.Schema{Type: "string", Description: "env:NAME or file:/path; with serve --dev the secret itself", Examples: []any{"env:GITHUB_SECRET"}}
	case reflect.TypeFor[config.Declared]():
		return &jsonschema.Schema{Ref: "#/$defs/Declared"}
	case reflect.TypeFor[receiver.Templates]():
		one := &jsonschema.Schema{Type: "string"}
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{one, {Type: "array", Items: one}}}
	}
	return nil
}

// required are the fields that nothing stands in for.
var required = map[string][]string{
	"Source": {"receiver"}, "Chain": {"name", "handlers"}, "Handler": {"name"}, "HTTP": {"url"},
}

// refine adds what the structs do not say.
func refine(s *jsonschema.Schema) {
	for name, d := range s.Definitions {
		d.Required = required[name]
		for pair := d.Properties.Oldest(); pair != nil; pair = pair.Next() {
			p := pair.Value
			p.Description = prose(p.Description)
			if p.Type == "object" && p.AdditionalProperties != nil && p.AdditionalProperties.Type == "string" {
				p.AdditionalProperties = scalar() // a number is taken as its text
			}
			if words := receiver.Words(pair.Key); (name == "Signature" || name == "Timestamp" || name == "Proof") && words != nil {
				suggest(p, words, `\{param:`)
			}
			if name == "Source" && pair.Key == "receiver" {
				suggest(p, []string{"NAME"}, "")
			}
		}
		d.Description = prose(d.Description)
	}
}

func scalar() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}}}
}

// suggest lets an editor complete words where others are right too.
func suggest(p *jsonschema.Schema, words []string, pattern string) {
	enum := make([]any, len(words))
	for i, w := range words {
		enum[i] = w
	}
	p.Type = ""
	p.AnyOf = []*jsonschema.Schema{{Enum: enum}, {Type: "string", Pattern: pattern}}
}

// prose joins the lines of a comment, and keeps its paragraphs.
func prose(comment string) string {
	paragraphs := strings.Split(comment, "\n\n")
	for i, p := range paragraphs {
		if !strings.HasPrefix(p, "\t") {
			paragraphs[i] = strings.ReplaceAll(p, "\n", " ")
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

// What Belay reads, the schemas allow; what it refuses, they refuse where they can.
func TestSchemasAgreeWithFiles(t *testing.T) {
	text, err := schema.Config(receiver.Names())
	if err != nil || !bytes.Contains(text, []byte(`"github","`)) {
		t.Fatalf("the names of receivers are not there (%v)", err)
	}
	forConfig, forReceiver := compile(t, text), compile(t, schema.Receiver())
	valid := func(s *validator.Schema, pattern string, most int) {
		t.Helper()
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) < most {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(asJSON(t, text)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	valid(forReceiver, "../../pkg/receiver/catalogue/*.yaml", 90)
	valid(forReceiver, "../../examples/custom-receiver/acme.yaml", 1)
	valid(forConfig, "../../examples/*/belay.yaml", 1)
	valid(forConfig, "../../cmd/belay/testdata/good.yaml", 1)
	valid(forConfig, "../../cmd/belay/demo.yaml", 1)
	valid(forConfig, "../../pkg/config/testdata/whole.yaml", 1)
	for _, text := range []string{
		"sorces: []", "sources: [{secrets: []}]", "sources: [{receiver: github, tolerance: 5}]", "chains: [{name: a, handlers: [{}]}]",
		"receivers: {a: {signatures: [{header: X, encoding: hex, algorithm: md5, content: \"{body}\"}]}}",
		"receivers: {a: {evnt: x}}",
	} {
		if err := forConfig.Validate(asJSON(t, []byte(text))); err == nil {
			t.Errorf("allowed: %s", text)
		}
	}
}

func compile(t *testing.T, text []byte) *validator.Schema {
	t.Helper()
	doc, err := validator.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	out, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	v, err := validator.UnmarshalJSON(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	return v
}
