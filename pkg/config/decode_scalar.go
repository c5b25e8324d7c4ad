package config

import (
	"encoding"
	"reflect"
	"strconv"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// secret decodes a reference. Nothing that stands there is ever repeated.
func (d *decoder) secret(node ast.Node, into *Secret, path string) {
	text, ok := scalarText(node)
	if !ok {
		d.wrong(node, &FieldError{Path: path, Want: "want env:NAME or file:/path as text, not " + kindOf(node)})
		return
	}
	s, want := parseSecret(text, d.opt)
	if want != "" {
		d.wrong(node, &FieldError{Path: path, Want: want})
		return
	}
	*into = s
}

func (d *decoder) scalar(node ast.Node, into reflect.Value, path string) {
	text, ok := scalarText(node)
	if !ok {
		d.wrong(node, &FieldError{Path: path, Want: "want " + scalarName(into) + ", not " + kindOf(node)})
		return
	}
	var err error
	switch u, custom := into.Addr().Interface().(encoding.TextUnmarshaler); {
	case custom:
		err = u.UnmarshalText([]byte(text))
	case into.Type() == reflect.TypeFor[time.Duration]():
		err = (*Duration)(into.Addr().Interface().(*time.Duration)).UnmarshalText([]byte(text))
	case into.Kind() == reflect.String:
		into.SetString(text)
	case into.CanInt():
		var v int64
		if v, err = strconv.ParseInt(text, 10, into.Type().Bits()); err == nil {
			into.SetInt(v)
		}
	case into.CanFloat():
		var v float64
		if v, err = strconv.ParseFloat(text, 64); err == nil {
			into.SetFloat(v)
		}
	case into.Kind() == reflect.Bool:
		// As YAML 1.2 has it: yes, on and 1 are no booleans.
		if text != "true" && text != "false" {
			err = strconv.ErrSyntax
		}
		into.SetBool(text == "true")
	}
	if err != nil {
		d.wrong(node, &FieldError{Path: path, Value: text, Want: "want " + scalarName(into)})
	}
}

// scalarText is the text of a scalar as it stands in the file, without quotes.
func scalarText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	case *ast.MappingNode:
		return unsplit(n)
	}
	return "", false
}

// unsplit puts together what the parser takes for fields and YAML for text:
// inside braces and brackets, {secrets: [env:NAME]}, it splits a plain scalar at
// a colon that no blank follows.
func unsplit(n *ast.MappingNode) (string, bool) {
	if len(n.Values) != 1 || n.Values[0].Key == nil || n.Values[0].Value == nil {
		return "", false
	}
	key, ok := n.Values[0].Key.(*ast.StringNode)
	if !ok {
		return "", false
	}
	colon, value := n.Values[0].GetToken(), n.Values[0].Value.GetToken()
	if colon == nil || value == nil || colon.Position.Line != value.Position.Line || colon.Position.Column+1 != value.Position.Column {
		return "", false
	}
	text, ok := scalarText(n.Values[0].Value)
	return key.Value + ":" + text, ok
}

func scalarName(v reflect.Value) string {
	switch {
	case v.Type() == reflect.TypeFor[Duration](), v.Type() == reflect.TypeFor[time.Duration]():
		return "a duration such as 300ms, 30s, 5m or 72h"
	case v.CanInt():
		return "a whole number"
	case v.CanFloat():
		return "a number"
	case v.Kind() == reflect.Bool:
		return "true or false"
	}
	return "text"
}

func kindOf(node ast.Node) string {
	switch node.(type) {
	case ast.MapNode:
		return "fields"
	case *ast.SequenceNode:
		return "a list"
	case *ast.TagNode:
		return "a tag"
	}
	return "a single value"
}
