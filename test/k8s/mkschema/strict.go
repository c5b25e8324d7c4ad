package main

import (
	"maps"
	"slices"
	"strings"
)

type object = map[string]any

const reference = "#/definitions/"

// whole is the schema of a kind with all definitions that it needs.
func whole(definitions map[string]object, name string) object {
	needed := object{}
	var need func(name string)
	need = func(name string) {
		if _, ok := needed[name]; ok {
			return
		}
		needed[name] = nil
		schema := strict(definitions[name])
		if strings.HasSuffix(name, ".resource.Quantity") {
			schema = object{"type": []any{"string", "number"}}
		}
		needed[name] = schema
		references(schema, need)
	}
	need(name)
	return object{"$ref": reference + name, "definitions": needed, "required": []any{"apiVersion", "kind", "metadata"}}
}

// references tells the names of the definitions that a schema refers to.
func references(schema any, tell func(name string)) {
	switch s := schema.(type) {
	case object:
		if ref, ok := s["$ref"].(string); ok {
			tell(strings.TrimPrefix(ref, reference))
		}
		for _, key := range slices.Sorted(maps.Keys(s)) {
			references(s[key], tell)
		}
	case []any:
		for _, each := range s {
			references(each, tell)
		}
	}
}

// strict is a schema as it is checked here: an object has the properties that it is
// declared with and no others, a number or text is either, and nothing is described.
func strict(schema any) any {
	s, ok := schema.(object)
	if !ok {
		return schema
	}
	if s["x-kubernetes-int-or-string"] == true || s["format"] == "int-or-string" {
		return object{"type": []any{"string", "integer"}}
	}
	clean := object{}
	for key, value := range s {
		switch key {
		case "properties", "patternProperties", "definitions":
			named := object{}
			for name, each := range value.(object) {
				named[name] = strict(each)
			}
			clean[key] = named
		case "items", "additionalProperties", "not":
			clean[key] = strict(value)
		case "allOf", "anyOf", "oneOf":
			var all []any
			for _, each := range value.([]any) {
				all = append(all, strict(each))
			}
			clean[key] = all
		case "type", "enum", "pattern", "required", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "$ref":
			clean[key] = value
		}
	}
	_, has := s["properties"]
	_, open := s["additionalProperties"]
	if has && !open && s["x-kubernetes-preserve-unknown-fields"] != true && s["type"] == "object" {
		clean["additionalProperties"] = false
	}
	return clean
}
