package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// maxValues bounds the values of a file after its aliases are followed: a few
// lines of aliases to aliases could otherwise stand for billions.
const maxValues = 100_000

// A decoder puts a parsed file into the structs, strictly, and notes the line of
// every value. The library's own decoder stops at the first problem, and forgets
// the lines that validation needs later.
type decoder struct {
	file     *File
	path     string // of the text that is decoded: the file's, or of one that it refers to
	opt      Options
	anchors  map[string]ast.Node
	values   int
	problems Problems
	bad      map[string]bool // paths without a value, because it has a problem
}

func (d *decoder) document(tree *ast.File) {
	if body := d.body(tree, "", "sources and chains"); body != nil {
		d.value(body, reflect.ValueOf(d.file).Elem(), "")
	}
}

// body is the one document of a text; nil if there is another number.
func (d *decoder) body(tree *ast.File, path, want string) ast.Node {
	docs := slices.DeleteFunc(slices.Clone(tree.Docs), func(doc *ast.DocumentNode) bool { return doc.Body == nil })
	if len(docs) == 0 {
		d.wrong(nil, &FieldError{Path: path, Want: "the file is empty, want " + want})
		return nil
	}
	if len(docs) > 1 {
		d.wrong(docs[1].Body, &FieldError{Path: path, Want: "want one document in the file, not several"})
		return nil
	}
	d.anchors = map[string]ast.Node{}
	ast.Walk(d, docs[0].Body)
	return docs[0].Body
}

// Visit collects the anchors.
func (d *decoder) Visit(node ast.Node) ast.Visitor {
	if a, ok := node.(*ast.AnchorNode); ok && a.Name != nil {
		d.anchors[a.Name.GetToken().Value] = a.Value
	}
	return d
}

func (d *decoder) wrong(node ast.Node, err *FieldError) {
	d.problems = append(d.problems, &Problem{File: d.path, Line: lineOf(node), Err: err})
	d.bad[err.Path] = true
}

func lineOf(node ast.Node) int {
	if node == nil || reflect.ValueOf(node).IsNil() {
		return 0
	}
	if m, ok := node.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		// A block mapping's own token is the first colon.
		node = m.Values[0].Key
	}
	if tk := node.GetToken(); tk != nil && tk.Position != nil {
		return tk.Position.Line
	}
	return 0
}

// resolve follows anchors and aliases to the value they stand for.
func (d *decoder) resolve(node ast.Node) ast.Node {
	for range 100 { // an alias of an alias of itself ends here
		switch n := node.(type) {
		case *ast.AnchorNode:
			node = n.Value
		case *ast.AliasNode:
			node = d.anchors[n.Value.GetToken().Value]
		default:
			return node
		}
	}
	return nil
}

// value decodes one node into the struct, slice, map or scalar that it is for.
// What is null counts as left out.
func (d *decoder) value(at ast.Node, into reflect.Value, path string) {
	if d.values++; d.values > maxValues {
		if d.values == maxValues+1 {
			d.wrong(at, &FieldError{Path: path, Want: fmt.Sprintf("more than %d values, want fewer", maxValues)})
		}
		return
	}
	node := d.resolve(at)
	if node == nil || node.Type() == ast.NullType {
		return
	}
	d.file.index[path] = spot{d.path, lineOf(at)}
	if into.Kind() == reflect.Pointer {
		if into.IsNil() {
			into.Set(reflect.New(into.Type().Elem()))
		}
		if def, ok := into.Interface().(defaulter); ok {
			def.setDefaults()
		}
		into = into.Elem()
	} else if def, ok := into.Addr().Interface().(defaulter); ok {
		def.setDefaults()
	}
	custom, _ := into.Addr().Interface().(unmarshaler)
	switch {
	case into.Type() == reflect.TypeFor[Secret]():
		d.secret(node, into.Addr().Interface().(*Secret), path)
	case into.Type() == reflect.TypeFor[Declared]():
		d.declared(node, into.Addr().Interface().(*Declared), path)
	case custom != nil:
		d.custom(node, custom, path)
	case into.Kind() == reflect.Struct:
		d.object(node, into, path)
	case into.Kind() == reflect.Slice:
		d.list(node, into, path)
	case into.Kind() == reflect.Map:
		d.table(node, into, path)
	default:
		d.scalar(node, into, path)
	}
}

func (d *decoder) object(node ast.Node, into reflect.Value, path string) {
	entries, ok := node.(ast.MapNode)
	if !ok {
		d.wrong(node, &FieldError{Path: path, Want: "want fields (name: value), not " + kindOf(node)})
		return
	}
	fields := map[string]reflect.Value{}
	collectFields(into, fields)
	for it := entries.MapRange(); it.Next(); {
		name := it.Key().GetToken().Value
		field, ok := fields[name]
		if !ok {
			known := strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
			d.wrong(it.Key(), &FieldError{Path: child(path, name), Want: "unknown field, want one of " + known})
			continue
		}
		d.value(it.Value(), field, child(path, name))
	}
}

// collectFields finds the fields of a struct, and of those inlined in it, by the
// names that they have in the file.
func collectFields(of reflect.Value, fields map[string]reflect.Value) {
	for i := range of.NumField() {
		name, option, _ := strings.Cut(of.Type().Field(i).Tag.Get("yaml"), ",")
		switch {
		case option == "inline":
			collectFields(of.Field(i), fields)
		case name != "" && name != "-":
			fields[name] = of.Field(i)
		}
	}
}

func (d *decoder) list(node ast.Node, into reflect.Value, path string) {
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		d.wrong(node, &FieldError{Path: path, Want: "want a list ([a, b] or lines with -), not " + kindOf(node)})
		return
	}
	// An element that is null is kept out, and does not move the index of those
	// after it: paths name the places of the file.
	out := reflect.MakeSlice(into.Type(), len(seq.Values), len(seq.Values))
	for i, v := range seq.Values {
		if n := d.resolve(v); n == nil || n.Type() == ast.NullType {
			d.wrong(v, &FieldError{Path: element(path, i), Want: "empty, want a value"})
		}
		d.value(v, out.Index(i), element(path, i))
	}
	into.Set(out)
}

func (d *decoder) table(node ast.Node, into reflect.Value, path string) {
	entries, ok := node.(ast.MapNode)
	if !ok {
		d.wrong(node, &FieldError{Path: path, Want: "want fields (name: value), not " + kindOf(node)})
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for it := entries.MapRange(); it.Next(); {
		name := it.Key().GetToken().Value
		v := reflect.New(into.Type().Elem()).Elem()
		d.value(it.Value(), v, child(path, name))
		into.SetMapIndex(reflect.ValueOf(name), v)
	}
}
