package receiver

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
)

// maxItems bounds how many items of a request are verified one by one.
const maxItems = 1000

// A document is the JSON of a request. The members that templates ask for are
// found in the pass that checks it.
type document struct {
	text    []byte
	wanted  []string // names of members
	members [][]byte // their values, inside text; nil where there is none
}

// readDocument reads the members that are wanted of a JSON text; nil if it is not
// valid, or nested deeper than the library's 10 000 levels: a body of brackets
// must not use up the stack. Of members with one name the first counts, and
// strings need not be UTF-8: providers send both. Where no name may stand twice in
// one object, because others would take the last, such a text is not valid.
func readDocument(text []byte, wanted []string, once bool) *document {
	decoder := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(!once), jsontext.AllowInvalidUTF8(true))
	d := &document{text: text}
	var err error
	if len(wanted) > 0 && decoder.PeekKind() == '{' {
		d.wanted, d.members = wanted, make([][]byte, len(wanted))
		err = d.readMembers(decoder)
	} else {
		_, err = decoder.ReadValue()
	}
	if err != nil {
		return nil
	}
	if _, err := decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return nil // more than one value
	}
	return d
}

func (d *document) readMembers(decoder *jsontext.Decoder) error {
	if _, err := decoder.ReadToken(); err != nil {
		return err
	}
	for decoder.PeekKind() == '"' {
		name, err := decoder.ReadToken()
		if err != nil {
			return err
		}
		i := slices.Index(d.wanted, name.String())
		value, err := decoder.ReadValue()
		if err != nil {
			return err
		}
		if i >= 0 && d.members[i] == nil {
			end := decoder.InputOffset() // value itself is the decoder's, until the next call
			d.members[i] = d.text[end-int64(len(value)) : end]
		}
	}
	_, err := decoder.ReadToken()
	return err
}

// has reports whether there is anything where a path leads to.
func (d *document) has(p part) bool {
	return d != nil && d.find(p).Exists()
}

// get is the text of the scalar that a path leads to, empty if there is none.
func (d *document) get(p part) string {
	if d == nil {
		return ""
	}
	v := d.find(p)
	if strings.Contains(p.arg, "#") && v.IsArray() {
		return p.several.of(scalars(nil, v))
	}
	return scalar(v)
}

func (d *document) find(p part) gjson.Result {
	i := slices.Index(d.wanted, p.member)
	switch {
	case i < 0:
		return gjson.GetBytes(d.text, p.arg) // an array, whose first key is an index
	case p.rest == "":
		return gjson.ParseBytes(d.members[i])
	}
	return gjson.GetBytes(d.members[i], p.rest)
}

// items makes a document of each item of the array that a path leads to; nil if
// there is none, or it is longer than maxItems.
func (d *document) items(p part) (all []*document) {
	if d == nil {
		return nil
	}
	v := d.find(p)
	if !v.IsArray() {
		return nil
	}
	v.ForEach(func(_, item gjson.Result) bool {
		all = append(all, readDocument([]byte(item.Raw), d.wanted, false))
		return len(all) <= maxItems
	})
	if len(all) > maxItems {
		return nil
	}
	return all
}
