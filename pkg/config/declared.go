package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Declared is a receiver that the file declares: its form, or file: and the
// path of a file that holds it, relative to the configuration file. What the
// form is, package receiver knows.
type Declared struct {
	file *File
	from *decoder // nil where there is nothing to decode
	node ast.Node
	path string
}

// Decode puts the declaration into a struct with yaml tags, as strictly as the
// file is read. The error is [Problems], with the lines of the file that it
// stands in. It may be called again.
func (c *Declared) Decode(into any) error {
	if c == nil || c.from == nil {
		return nil
	}
	d := &decoder{file: c.file, path: c.from.path, opt: c.from.opt, anchors: c.from.anchors, bad: map[string]bool{}}
	d.value(c.node, reflect.ValueOf(into).Elem(), c.path)
	if len(d.problems) == 0 {
		return nil
	}
	return d.problems
}

// declared notes where a declaration stands.
func (d *decoder) declared(node ast.Node, into *Declared, path string) {
	*into = Declared{file: d.file, from: d, node: node, path: path}
	entries, ok := node.(ast.MapNode)
	if !ok {
		d.wrong(node, &FieldError{Path: path, Want: "want fields (name: value), not " + kindOf(node)})
		into.from = nil
		return
	}
	var file ast.Node
	fields := 0
	for it := entries.MapRange(); it.Next(); fields++ {
		if it.Key().GetToken().Value == "file" {
			file = it.Value()
		}
	}
	if file == nil {
		return
	}
	into.from = nil
	name, ok := scalarText(d.resolve(file))
	if !ok || fields > 1 {
		d.wrong(file, &FieldError{Path: child(path, "file"), Want: "want the path of a file, and nothing beside it: the file holds the receiver"})
		return
	}
	into.from, into.node = d.include(file, name, path)
}

// include reads another file, in which the value of the path stands.
func (d *decoder) include(at ast.Node, name, path string) (*decoder, ast.Node) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(d.file.path), name)
	}
	text, err := readOther(name)
	d.file.others[name] = text
	if err != nil {
		d.wrong(at, &FieldError{Path: child(path, "file"), Want: fmt.Sprintf("want a file that can be read: %v", err)})
		return nil, nil
	}
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		d.problems = append(d.problems, syntaxProblem(name, err))
		d.bad[path] = true
		return nil, nil
	}
	other := &decoder{file: d.file, path: name, opt: d.opt, bad: d.bad}
	body := other.body(tree, path, "a receiver")
	d.problems = append(d.problems, other.problems...)
	if body == nil {
		return nil, nil
	}
	return other, body
}

// readOther reads a file that the configuration refers to. Anything but a file
// could block for ever.
func readOther(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", path)
	}
	return read(path)
}

// An unmarshaler is a type that may be written in several ways, as the YAML
// library has it.
type unmarshaler interface {
	UnmarshalYAML(unmarshal func(any) error) error
}

// custom decodes what may be written in several ways. Where none fits, the last
// one that was tried says what is wrong.
func (d *decoder) custom(node ast.Node, into unmarshaler, path string) {
	var last Problems
	err := into.UnmarshalYAML(func(v any) error {
		try := &decoder{file: d.file, path: d.path, opt: d.opt, anchors: d.anchors, values: d.values, bad: map[string]bool{}}
		try.value(node, reflect.ValueOf(v).Elem(), path)
		d.values = try.values
		if last = try.problems; len(last) == 0 {
			return nil
		}
		return last
	})
	if err == nil {
		return
	}
	if len(last) == 0 {
		d.wrong(node, &FieldError{Path: path, Want: err.Error()})
		return
	}
	d.problems = append(d.problems, last...)
	d.bad[path] = true
}
