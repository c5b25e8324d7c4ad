package receiver

import (
	"encoding/json"
	"encoding/xml"
	"strings"
)

// escapeFor is what makes a value safe in a body of a media type.
func escapeFor(media string) func(string) string {
	switch {
	case isJSON(media):
		return jsonEscape
	case isXML(media):
		return xmlEscape
	}
	return func(s string) string { return s }
}

// xmlEscape makes a value safe between the tags and the quotes of XML.
func xmlEscape(s string) string {
	var b strings.Builder
	if xml.EscapeText(&b, []byte(s)) != nil {
		return ""
	}
	return b.String()
}

// jsonEscape makes a value safe between the quotes of a JSON string.
func jsonEscape(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return string(quoted[1 : len(quoted)-1])
}
