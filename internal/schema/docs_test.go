package schema_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"

	"github.com/belay-hooks/belay/internal/sources"
)

// The page about receivers of one's own says what the structs' comments say.
func TestDocsFollowTheStructs(t *testing.T) {
	t.Chdir("../..")
	const page = "docs/custom-receivers.md"
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("examples/custom-receiver/acme.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := between(t, string(got), "example", "```yaml\n"+string(example)+"```\n")
	want = between(t, want, "form", form(t))
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if want != string(got) {
		t.Errorf("%s is not what the structs and the example say: go test ./internal/schema -update", page)
	}
}

// between replaces what stands between two marks.
func between(t *testing.T, text, mark, with string) string {
	t.Helper()
	before, rest, begins := strings.Cut(text, "<!-- "+mark+" -->\n")
	_, after, ends := strings.Cut(rest, "<!-- /"+mark+" -->\n")
	if !begins || !ends {
		t.Fatalf("the marks of %s are not there", mark)
	}
	return before + "<!-- " + mark + " -->\n" + with + "<!-- /" + mark + " -->\n" + after
}

// form is the reference: every type in the order in which it is first named.
func form(t *testing.T) string {
	t.Helper()
	s := generate(t, &sources.Declared{}, "")
	refine(s)
	var b strings.Builder
	seen := map[string]bool{"Declared": true}
	for queue := []string{"Declared"}; len(queue) > 0; queue = queue[1:] {
		name := queue[0]
		d := s.Definitions[name]
		if name == "Declared" {
			fmt.Fprintf(&b, "### A receiver\n\n%s\n\n", markdown(formComment(t)))
		} else {
			fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", name, markdown(d.Description))
		}
		for pair := d.Properties.Oldest(); pair != nil; pair = pair.Next() {
			about, kind := pair.Value.Description, kindOf(pair.Value)
			if ref := refOf(pair.Value); ref != "" {
				kind = "[" + kind + "](#" + strings.ToLower(ref) + ")"
				if !seen[ref] {
					seen[ref] = true
					queue = append(queue, ref)
				}
			}
			fmt.Fprintf(&b, "- `%s` (%s): %s\n", pair.Key, kind, strings.ReplaceAll(markdown(about), "\n", "\n  "))
		}
	}
	return b.String()
}

// formComment is the comment of the form, which is inlined.
func formComment(t *testing.T) string {
	t.Helper()
	r := &jsonschema.Reflector{}
	if err := r.AddGoComments(module, "./pkg/receiver", jsonschema.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	return prose(r.CommentMap[module+"/pkg/receiver.Form"])
}

// link is a link in a comment: [Signature].
var link = regexp.MustCompile(`\[([A-Z]\w+)\]`)

// markdown is a comment with its indented lines as code, and without the
// brackets of its links.
func markdown(comment string) string {
	var b strings.Builder
	code := false
	for line := range strings.SplitSeq(strings.TrimSpace(comment), "\n") {
		if text, indented := strings.CutPrefix(line, "\t"); indented != code && (indented || line != "") {
			fence := "```\n"
			if code {
				fence += "\n"
			}
			b.WriteString(fence)
			code, line = indented, text
		} else {
			line = text
		}
		if !code {
			line = link.ReplaceAllString(line, "$1")
		}
		if !code || line != "" {
			b.WriteString(line + "\n")
		}
	}
	if code {
		b.WriteString("```\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func kindOf(s *jsonschema.Schema) string {
	if ref := refOf(s); ref != "" {
		switch s.Type {
		case "array":
			return "list of " + ref
		case "object":
			return "names to " + ref
		}
		return ref
	}
	switch {
	case s.Pattern != "" && s.Type == "string":
		return "duration"
	case s.Type == "array":
		return "list of text"
	case s.Type == "object":
		return "names to text"
	case len(s.AnyOf) == 2 && s.AnyOf[1].Type == "array":
		return "template or list of them"
	case len(s.AnyOf) > 0, s.Type == "string":
		return "text"
	}
	return s.Type
}

// refOf is the type that a field is of, or is a list or a map of.
func refOf(s *jsonschema.Schema) string {
	for _, at := range []*jsonschema.Schema{s, s.Items, s.AdditionalProperties} {
		if at != nil && at.Ref != "" {
			return strings.TrimPrefix(at.Ref, "#/$defs/")
		}
	}
	return ""
}
