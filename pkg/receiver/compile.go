package receiver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A compiler turns a receiver's form and a source's parameters into what runs.
type compiler struct {
	receiver *Receiver
	params   map[string]string // those of the source over the defaults
}

// newCompiler checks the parameters against those that the receiver declares.
func newCompiler(r *Receiver, given map[string]string) (*compiler, error) {
	c := &compiler{receiver: r, params: make(map[string]string, len(r.Params))}
	for name, p := range r.Params {
		c.params[name] = p.Default
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		p, ok := r.Params[name]
		if !ok {
			want := fmt.Sprintf("one of %s's parameters: %s", r.Slug, strings.Join(r.ParamNames(), ", "))
			if len(r.Params) == 0 {
				want = "no parameters: " + r.Slug + " takes none"
			}
			return nil, &FieldError{Field: "params." + name, Value: given[name], Want: want}
		}
		if len(p.Allowed) > 0 && !slices.Contains(p.Allowed, given[name]) {
			return nil, &FieldError{Field: "params." + name, Value: given[name], Want: "one of " + strings.Join(p.Allowed, ", ")}
		}
		c.params[name] = given[name]
	}
	for _, name := range r.ParamNames() {
		if p := r.Params[name]; p.Required && c.params[name] == "" {
			return nil, &FieldError{Field: "params." + name, Want: p.About}
		}
	}
	return c, nil
}

// expand replaces each {param:name} by its value. What a value brings in is not
// looked at again.
func (c *compiler) expand(text string) string {
	if !strings.Contains(text, "{param:") {
		return text
	}
	pairs := make([]string, 0, 2*len(c.params))
	for name, value := range c.params {
		pairs = append(pairs, "{param:"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// inScheme reports whether what a form says of a scheme counts for the source.
func (c *compiler) inScheme(scheme string) bool {
	return scheme == "" || scheme == c.params["scheme"]
}

// values are what a condition's value stands for: more than one where it is a
// parameter that is a list.
func (c *compiler) values(text string) []string {
	name := strings.TrimSuffix(strings.TrimPrefix(text, "{param:"), "}")
	if !c.receiver.Params[name].List || text != "{param:"+name+"}" {
		return []string{c.expand(text)}
	}
	var all []string
	for value := range strings.SplitSeq(c.params[name], ",") {
		if value = strings.TrimSpace(value); value != "" {
			all = append(all, value)
		}
	}
	return all
}

// blame makes the error for a field of the form. Where the text came from a
// parameter, it is the parameter that must be mended.
func (c *compiler) blame(field, text, want string) error {
	for name, value := range c.params {
		if strings.Contains(text, "{param:"+name+"}") {
			return &FieldError{Field: "params." + name, Value: value, Want: want}
		}
	}
	return &FieldError{Field: field, Value: text, Want: want}
}

func (c *compiler) template(field, text string) (template, error) {
	t, err := parseTemplate(c.expand(text))
	if err != nil {
		return nil, c.blame(field, text, err.Error())
	}
	if (choice{t}).uses(secretText) || (choice{t}).uses(keyName) {
		return nil, c.blame(field, text, "a template without {secret} and {key_id}, which are for calls of the provider alone")
	}
	return t, nil
}

func (c *compiler) choice(field string, texts Templates) (choice, error) {
	var all choice
	manners := map[string]manner{"event": orBatch, "id": listed}
	for _, text := range texts {
		t, err := c.template(field, text)
		if err != nil {
			return nil, err
		}
		if len(t) > 0 { // a parameter that is left empty
			all = append(all, t.in(manners[field]))
		}
	}
	return all, nil
}

// oneOf looks up a word of the form among those that have a meaning.
func oneOf[T any](c *compiler, field, text string, meanings map[string]T) (T, error) {
	meaning, ok := meanings[c.expand(text)]
	if !ok {
		words := strings.Join(slices.Sorted(maps.Keys(meanings)), ", ")
		return meaning, c.blame(field, text, "one of "+words)
	}
	return meaning, nil
}
