package receiver

import (
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// A request is what templates are filled from. What must be parsed is parsed
// when a template first asks for it.
type request struct {
	*http.Request
	body      []byte
	timestamp string
	documents choice    // where the JSON document is
	proof     string    // of the answer that is being filled
	secret    string    // for the call that is being filled
	keyID     string    // the same
	document  *document // nil if there is none, or it was not looked for
	source    *Source   // nil in tests of templates

	form, query             url.Values
	elements                xmlDocument
	formParsed, queryParsed bool
	xmlParsed               bool
	scratch                 []byte
}

// value is what a part stands for; empty if the request does not have it.
func (q *request) value(p part) string {
	switch p.kind {
	case literal:
		return p.arg
	case body:
		return string(q.body)
	case timestamp:
		return q.timestamp
	case method:
		return q.Method
	case address:
		return q.address()
	case otherPort:
		return q.otherPort()
	case header:
		if values := q.Header[p.arg]; len(values) > 0 {
			return values[0]
		}
	case jsonValue:
		return q.document.get(p)
	case formField:
		return p.several.of(q.parsedForm()[p.arg])
	case queryParam:
		if !q.queryParsed {
			q.query, q.queryParsed = q.URL.Query(), true
		}
		return p.several.of(q.query[p.arg])
	case formSorted:
		return sortedForm(q.encodedForm())
	case documentText:
		return string(q.documents.bytes(q))
	case proofText:
		return q.proof
	case xmlValue:
		return p.several.of(q.xml()[p.arg])
	case requestPath:
		return q.URL.RequestURI()
	case signedHeaders:
		return q.signedHeaders(p.arg)
	case plivoURL:
		return q.plivoURL()
	case secretText:
		return q.secret
	case keyName:
		return q.keyID
	default:
		return q.derived(p)
	}
	return ""
}

// xml is the XML document of the request; nil if there is none.
func (q *request) xml() xmlDocument {
	if !q.xmlParsed && q.source != nil {
		q.xmlParsed = true
		q.elements, _ = readXML(q.source.documentText(q), q.source.elements) // none, if it is none
	}
	return q.elements
}

// sortedForm is the names and values of a form, in the order of the names. Of a
// name that stands there several times each value counts once, in order
// (https://www.twilio.com/docs/usage/webhooks/webhooks-security).
func sortedForm(form url.Values) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(form)) {
		for _, value := range slices.Compact(slices.Sorted(slices.Values(form[name]))) {
			b.WriteString(name)
			b.WriteString(value)
		}
	}
	return b.String()
}

// scalar is the text of a JSON string, number or boolean. An object or an array
// is no name for anything.
func scalar(v gjson.Result) string {
	switch v.Type {
	case gjson.String:
		return v.Str
	case gjson.Number, gjson.True, gjson.False:
		return v.Raw
	}
	return ""
}

// address is the URL that the client asks for. In a server its scheme is not in
// the request, unless who passed it on knew better; see [Source.NeedsURL].
func (q *request) address() string { return q.addressAt(q.Host) }

func (q *request) addressAt(host string) string {
	return q.scheme() + "://" + host + q.URL.RequestURI()
}

func (q *request) scheme() string {
	switch {
	case q.URL.Scheme != "":
		return q.URL.Scheme
	case q.TLS != nil:
		return "https"
	}
	return "http"
}

// otherPort is the address without its port, or with that of its scheme: some
// senders write it where the URL has none, or leave it out where it has one.
func (q *request) otherPort() string {
	if _, port, err := net.SplitHostPort(q.Host); err == nil {
		return q.addressAt(strings.TrimSuffix(q.Host, ":"+port))
	}
	return q.addressAt(q.Host + ":" + map[string]string{"http": "80", "https": "443"}[q.scheme()])
}

// mediaType is a content type in lower case and without its parameters.
func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// isJSON reports whether a media type says that the body is JSON.
func isJSON(media string) bool {
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// isXML reports whether a media type says that the body is XML.
func isXML(media string) bool {
	return media == "application/xml" || media == "text/xml" || strings.HasSuffix(media, "+xml")
}

// isToken reports whether s can be the name of a header
// (https://www.rfc-editor.org/rfc/rfc9110#name-tokens).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c > '~' || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return s != ""
}
