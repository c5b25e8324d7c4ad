package receiver

import (
	"bytes"
	"slices"
	"unsafe"

	"github.com/tidwall/gjson"
)

// A document is the JSON of a request. The members that templates ask for are
// found in one pass.
type document struct {
	text    []byte
	wanted  []string // names of members
	members []gjson.Result
}

// readDocument reads the members that are wanted of a JSON text; nil if it is not
// valid.
func readDocument(text []byte, wanted []string) *document {
	if !gjson.ValidBytes(text) {
		return nil
	}
	d := &document{text: text}
	if len(wanted) > 0 && bytes.TrimLeft(text, " \t\r\n")[0] == '{' {
		d.wanted, d.members = wanted, make([]gjson.Result, len(wanted))
		d.readMembers()
	}
	return d
}

func (d *document) readMembers() {
	missing := len(d.wanted)
	// The library's own way for bytes copies them, and a body may be large. It is
	// not changed any more, and the results live as long as it does.
	gjson.Parse(unsafe.String(&d.text[0], len(d.text))).ForEach(func(key, value gjson.Result) bool {
		// Of members with one name the first counts, as for a path.
		if i := slices.Index(d.wanted, key.Str); i >= 0 && !d.members[i].Exists() {
			d.members[i] = value
			missing--
		}
		return missing > 0
	})
}

// get is the text of the scalar that a path leads to, empty if there is none.
func (d *document) get(p part) string {
	if d == nil {
		return ""
	}
	i := slices.Index(d.wanted, p.member)
	switch {
	case i < 0:
		return scalar(gjson.GetBytes(d.text, p.arg)) // an array, whose first key is an index
	case p.rest == "":
		return scalar(d.members[i])
	}
	return scalar(d.members[i].Get(p.rest))
}
