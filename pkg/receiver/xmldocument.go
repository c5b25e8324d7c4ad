package receiver

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

const (
	// maxXMLDepth bounds how deep elements are nested. SOAP needs seven levels.
	maxXMLDepth = 64
	// maxXMLElements bounds how many there are: 100 notifications of Salesforce
	// with all the 800 fields that an object can have.
	maxXMLElements = 100_000
)

// An xmlTree is the elements that templates ask for, by their local names.
type xmlTree struct {
	children map[string]*xmlTree
	path     string // of an element that is asked for; empty: only those below it
}

// newXMLTree makes a tree of paths such as Envelope.Body.notifications; nil if there
// are none.
func newXMLTree(paths []string) *xmlTree {
	if len(paths) == 0 {
		return nil
	}
	root := &xmlTree{}
	for _, path := range paths {
		at := root
		for name := range strings.SplitSeq(path, ".") {
			if at.children == nil {
				at.children = map[string]*xmlTree{}
			}
			if at.children[name] == nil {
				at.children[name] = &xmlTree{}
			}
			at = at.children[name]
		}
		at.path = path
	}
	return root
}

// child is the element's part of the tree; nil where nothing is asked for.
func (t *xmlTree) child(name string) *xmlTree {
	if t == nil {
		return nil
	}
	return t.children[name]
}

// An xmlDocument holds the texts of the elements that were asked for, by path, in
// the order of the document.
type xmlDocument map[string][]string

// errXML says that a text is no XML that we read. What is wrong with it is the
// sender's to know.
var errXML = errors.New("no XML, or with a document type, or out of bounds")

// readXML reads an XML text, in one pass. There are no entities besides the five
// of XML itself, and no document type that could declare one
// (https://owasp.org/www-community/vulnerabilities/XML_External_Entity_(XXE)_Processing).
func readXML(text []byte, wanted *xmlTree) (xmlDocument, error) {
	decoder := xml.NewDecoder(bytes.NewReader(text)) // strict: tags match, and entities are known
	found := xmlDocument{}
	var (
		open     []*xmlTree // the elements around, of which nothing is asked: nil
		texts    [][]byte
		elements int
	)
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) && elements > 0 {
			return found, nil
		}
		if err != nil {
			return nil, errXML
		}
		switch token := token.(type) {
		case xml.Directive:
			return nil, errXML
		case xml.StartElement:
			if elements++; elements > maxXMLElements || len(open) == maxXMLDepth || len(open) == 0 && elements > 1 {
				return nil, errXML
			}
			around := wanted
			if len(open) > 0 {
				around = open[len(open)-1]
			}
			open, texts = append(open, around.child(token.Name.Local)), append(texts, nil)
		case xml.CharData:
			if last := len(open) - 1; last >= 0 && open[last] != nil && open[last].path != "" {
				texts[last] = append(texts[last], token...)
			}
		case xml.EndElement:
			last := len(open) - 1
			if at := open[last]; at != nil && at.path != "" {
				found[at.path] = append(found[at.path], strings.TrimSpace(string(texts[last])))
			}
			open, texts = open[:last], texts[:last]
		}
	}
}
