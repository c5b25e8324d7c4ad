package receiver

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestXML(t *testing.T) {
	const good = `<?xml version="1.0" encoding="UTF-8"?><s:a xmlns:s="urn:x"><b> 1 &amp; <!-- no -->2</b><n><b>x</b></n><n><b>y</b></n><s:c/></s:a>`
	for name, test := range map[string]struct {
		text string
		want map[string][]string // nil: not read
	}{
		"an element":         {good, map[string][]string{"a.b": {"1 & 2"}, "a.n.b": {"x", "y"}, "a.c": {""}, "a.d": nil, "b": nil}},
		"no namespaces":      {`<a><b>1</b></a>`, map[string][]string{"a.b": {"1"}}},
		"CDATA":              {`<a><b><![CDATA[<1>]]></b></a>`, map[string][]string{"a.b": {"<1>"}}},
		"text around":        {`<a>x<b>1</b>y</a>`, map[string][]string{"a.b": {"1"}}},
		"another root":       {`<z><b>1</b></z>`, map[string][]string{"a.b": nil}},
		"nothing":            {``, nil},
		"blanks":             {` `, nil},
		"text":               {`a`, nil},
		"JSON":               {`{"a":1}`, nil},
		"an open tag":        {`<a><b>`, nil},
		"crossed tags":       {`<a><b></a></b>`, nil},
		"two roots":          {`<a/><a><b>1</b></a>`, nil},
		"a document type":    {`<!DOCTYPE a><a><b>1</b></a>`, nil},
		"an entity":          {`<!DOCTYPE a [<!ENTITY e "x">]><a><b>&e;</b></a>`, nil},
		"an unknown entity":  {`<a><b>&e;</b></a>`, nil},
		"an external entity": {`<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a><b>&e;</b></a>`, nil},
		"billion laughs":     {`<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><a><b>&b;</b></a>`, nil},
		"Latin-1":            {`<?xml version="1.0" encoding="ISO-8859-1"?><a/>`, nil},
		"deep":               {strings.Repeat("<a>", maxXMLDepth) + strings.Repeat("</a>", maxXMLDepth), map[string][]string{}},
		"too deep":           {strings.Repeat("<a>", maxXMLDepth+1) + strings.Repeat("</a>", maxXMLDepth+1), nil},
		"far too deep":       {strings.Repeat("<a>", 1<<20), nil},
		"too many":           {"<a>" + strings.Repeat("<b/>", maxXMLElements) + "</a>", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readXML([]byte(test.text), newXMLTree([]string{"a.b", "a.n.b", "a.c", "a.d", "b"}))
			if (err == nil) != (test.want != nil) {
				t.Fatalf("error %v", err)
			}
			for path, want := range test.want {
				if !slices.Equal(got[path], want) {
					t.Errorf("%s is %q, want %q", path, got[path], want)
				}
			}
		})
	}
}

// Whatever calls itself XML, what is read of it is text that stands in it or in
// its five entities.
func FuzzXML(f *testing.F) {
	f.Add(`<?xml version="1.0"?><a><b>1</b></a>`)
	f.Add(`<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a><b>&e;</b></a>`)
	f.Add(`<a xmlns="urn:x"><b><![CDATA[x]]>&#65;</b><b/></a>`)
	tree := newXMLTree([]string{"a.b", "a.b.c"})
	f.Fuzz(func(t *testing.T, text string) {
		found, err := readXML([]byte(text), tree)
		if err != nil {
			if found != nil {
				t.Fatal("something of nothing")
			}
			return
		}
		for path, values := range found {
			for _, v := range values {
				if len(v) > len(text) || !utf8.ValidString(v) {
					t.Errorf("%s is %q", path, v)
				}
			}
		}
	})
}
