package receiver

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxRewritten bounds in bytes the JSON that is written in every way.
const maxRewritten = 1 << 20

// maxGrowth is how many times as long it may become. Indented, what is nested on
// purpose would be a hundred times as long.
const maxGrowth = 4

// A layout is where a JSON writer puts white space.
type layout struct {
	name, comma, colon, indent string
}

// The layouts of JSON.stringify and most others, of Python's json.dumps, and of
// those who indent.
var layouts = []layout{
	{"compact JSON", ",", ":", ""},
	{"JSON with blanks after , and : (as of Python)", ", ", ": ", ""},
	{"JSON indented by 2", ",", ": ", "  "},
	{"JSON indented by 4", ",", ": ", "    "},
	{"JSON indented by tabs", ",", ": ", "\t"},
}

// A spelling is how a JSON writer writes what is not plain in a string.
type spelling struct {
	name               string
	ascii, html, slash bool
}

var spellings = []spelling{
	{name: ""},
	{name: ", in ASCII", ascii: true},
	{name: ", with <, > and & escaped", html: true},
	{name: ", with / escaped", slash: true},
	{name: ", in ASCII with / escaped", ascii: true, slash: true},
}

// jsonVariants are the JSON texts that say the same as the body. The numbers are
// as they stand there, and as JavaScript would write them.
func jsonVariants(body []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if len(body) > maxRewritten {
			return
		}
		root, err := readTree(body)
		if err != nil {
			return
		}
		for _, sorted := range []bool{false, true} {
			order := ""
			if sorted {
				root.sort()
				order = ", keys in order"
			}
			for _, numbers := range []bool{false, true} {
				for _, l := range layouts {
					for _, s := range spellings {
						w := jsonWriter{layout: l, spelling: s, numbers: numbers, limit: maxGrowth*len(body) + 1024}
						w.write(root, 0)
						if w.Len() > w.limit {
							continue
						}
						name := "the body as " + l.name + s.name + order
						if !yield(name, w.Bytes()) || !yield(name+", with a newline at its end", append(bytes.Clone(w.Bytes()), '\n')) {
							return
						}
					}
				}
				if !root.hasFloats() {
					break
				}
			}
		}
	}
}

// A tree is a JSON value that remembers the order of its keys.
type tree struct {
	kind     byte // { [ " or 0 for what has one spelling
	text     string
	keys     []string
	children []*tree
}

var errDeep = errors.New("nested too deep")

// readTree reads a JSON text.
func readTree(text []byte) (*tree, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	root, err := readValue(d, 0)
	if err == nil && d.More() {
		err = errors.New("more than one value")
	}
	return root, err
}

func readValue(d *json.Decoder, depth int) (*tree, error) {
	const deepest = 200
	if depth > deepest {
		return nil, errDeep
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Delim:
		t := &tree{kind: byte(v)}
		for d.More() {
			if t.kind == '{' {
				key, err := d.Token()
				if err != nil {
					return nil, err
				}
				t.keys = append(t.keys, key.(string))
			}
			child, err := readValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			t.children = append(t.children, child)
		}
		_, err := d.Token() // the closing one
		return t, err
	case string:
		return &tree{kind: '"', text: v}, nil
	case json.Number:
		return &tree{kind: '0', text: v.String()}, nil
	case bool:
		return &tree{text: strconv.FormatBool(v)}, nil
	}
	return &tree{text: "null"}, nil
}

// sort puts the keys of all objects in order.
func (t *tree) sort() {
	if t.kind == '{' {
		order := make([]int, len(t.keys))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(t.keys[a], t.keys[b]) })
		keys, children := make([]string, len(order)), make([]*tree, len(order))
		for to, from := range order {
			keys[to], children[to] = t.keys[from], t.children[from]
		}
		t.keys, t.children = keys, children
	}
	for _, c := range t.children {
		c.sort()
	}
}

// hasFloats reports whether a number could be written in another way.
func (t *tree) hasFloats() bool {
	return t.kind == '0' && javaScript(t.text) != t.text || slices.ContainsFunc(t.children, (*tree).hasFloats)
}

// javaScript is a number as JSON.stringify writes it.
func javaScript(number string) string {
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return number
	}
	text, err := json.Marshal(f) // as in ECMAScript
	if err != nil {
		return number
	}
	return string(text)
}

// A jsonWriter writes a tree in one way.
type jsonWriter struct {
	bytes.Buffer
	layout   layout
	spelling spelling
	numbers  bool // as JavaScript writes them
	limit    int  // bytes; what is longer is given up
}

func (w *jsonWriter) write(t *tree, depth int) {
	if w.Len() > w.limit {
		return
	}
	switch t.kind {
	case '{', '[':
		w.WriteByte(t.kind)
		for i, child := range t.children {
			if i > 0 {
				w.WriteString(w.layout.comma)
			}
			w.newline(depth + 1)
			if t.kind == '{' {
				w.quote(t.keys[i])
				w.WriteString(w.layout.colon)
			}
			w.write(child, depth+1)
		}
		if len(t.children) > 0 {
			w.newline(depth)
		}
		w.WriteByte(t.kind + 2) // } and ] stand there in ASCII
	case '"':
		w.quote(t.text)
	case '0':
		if w.numbers {
			w.WriteString(javaScript(t.text))
			return
		}
		w.WriteString(t.text)
	default:
		w.WriteString(t.text)
	}
}

func (w *jsonWriter) newline(depth int) {
	if w.layout.indent != "" {
		w.WriteByte('\n')
		w.WriteString(strings.Repeat(w.layout.indent, depth))
	}
}

// short are the escapes of one letter.
var shortEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func (w *jsonWriter) quote(text string) {
	w.WriteByte('"')
	for _, r := range text {
		escape, has := shortEscapes[r]
		switch {
		case has:
			w.WriteString(escape)
		case r == '/' && w.spelling.slash:
			w.WriteString(`\/`)
		case r < ' ', w.spelling.html && (r == '<' || r == '>' || r == '&' || r == '\u2028' || r == '\u2029'):
			w.unicode(r)
		case w.spelling.ascii && r >= utf8.RuneSelf:
			if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
				w.unicode(high)
				r = low
			}
			w.unicode(r)
		default:
			w.WriteRune(r)
		}
	}
	w.WriteByte('"')
}

func (w *jsonWriter) unicode(r rune) {
	const digits = "0123456789abcdef"
	w.WriteString(`\u`)
	for shift := 12; shift >= 0; shift -= 4 {
		w.WriteByte(digits[r>>shift&0xf])
	}
}
