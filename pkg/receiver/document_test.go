package receiver

import (
	"strings"
	"testing"
)

// A stranger may send it: handshakes, and signatures in a JSON value, are looked
// for before anything is proven.
func TestDocumentOfBracketsIsRefused(t *testing.T) {
	const large = 25 << 20
	for name, text := range map[string]string{
		"arrays":                  strings.Repeat("[", large),
		"objects":                 strings.Repeat(`{"a":`, large/5),
		"in a member":             `{"b":` + strings.Repeat("[", large) + `}`,
		"deeper than the library": strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001),
	} {
		t.Run(name, func(t *testing.T) {
			if readDocument([]byte(text), []string{"a"}, false) != nil {
				t.Error("taken for a document")
			}
		})
	}
}

func TestDocument(t *testing.T) {
	for _, c := range []struct {
		name, text, path, want string
		wrong                  bool
	}{
		{name: "a member", text: ` {"a":"x"} `, path: "json:a", want: "x"},
		{name: "below a member", text: `{"b":[],"a":{"c":[1,2]}}`, path: "json:a.c.1", want: "2"},
		{name: "the first of a name", text: `{"a":1,"a":2}`, path: "json:a", want: "1"},
		{name: "a name with an escape", text: `{"\u0061":true}`, path: "json:a", want: "true"},
		{name: "in an array", text: `[{"a":7}]`, path: "json:0.a", want: "7"},
		{name: "an object is no scalar", text: `{"a":{}}`, path: "json:a"},
		{name: "not UTF-8", text: "{\"b\":\"\xff\",\"a\":1}", path: "json:a", want: "1"},
		{name: "broken after the member", text: `{"a":1,"b":}`, wrong: true},
		{name: "two values", text: `{"a":1} {}`, wrong: true},
		{name: "nothing", text: "", wrong: true},
		{name: "a comment", text: `{"a":1} // one`, wrong: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := readDocument([]byte(c.text), []string{"a", "0"}, false)
			if (d == nil) != c.wrong {
				t.Fatalf("valid: %t", d != nil)
			}
			if c.wrong {
				return
			}
			p, err := parsePlaceholder(c.path)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.get(p); got != c.want {
				t.Errorf("%s of %s is %q, want %q", c.path, c.text, got, c.want)
			}
		})
	}
}
