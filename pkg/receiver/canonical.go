package receiver

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxSignedHeaders bounds how many headers a request lists as signed.
const maxSignedHeaders = 64

// signedHeaders is the canonical form of the headers that the header name lists
// (https://www.contentful.com/developers/docs/extensibility/app-framework/request-verification/).
// It is empty where one of them is not there, or twice, and where the list leaves
// out itself or the time: who could leave them out could change them.
func (q *request) signedHeaders(name string) string {
	listed := strings.Split(strings.ToLower(q.Header.Get(name)), ",")
	if len(listed) > maxSignedHeaders {
		return ""
	}
	for i := range listed {
		listed[i] = strings.TrimSpace(listed[i])
	}
	for _, needed := range []string{name, q.source.timeHeader()} {
		if !slices.Contains(listed, strings.ToLower(needed)) {
			return ""
		}
	}
	slices.Sort(listed)
	var b strings.Builder
	for i, name := range slices.Compact(listed) {
		values := q.Header[http.CanonicalHeaderKey(name)]
		if name == "host" {
			values = []string{q.Host} // which the server takes out of the headers
		}
		if len(values) != 1 {
			return ""
		}
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString(name + ":" + strings.TrimSpace(values[0]))
	}
	return b.String()
}

// timeHeader is the header that the signed time stands in; empty if none does.
func (s *Source) timeHeader() string {
	if s == nil || s.clock == nil || s.clock.at.kind != header {
		return ""
	}
	return s.clock.at.arg
}

// listHeaders writes the list of the headers that are signed, where a signature
// needs one and the request has none.
func (s *Source) listHeaders(r *http.Request, content template) {
	for _, p := range content {
		if p.kind == signedHeaders && r.Header.Get(p.arg) == "" {
			r.Header.Set(p.arg, strings.ToLower(p.arg+","+s.timeHeader()))
		}
	}
}

// plivoURL is the URL, with query and form, as version 3 of Plivo's signatures has
// it (https://www.plivo.com/docs/voice/concepts/signature-validation): the query
// in order as name=value pairs, and after a dot the form, names and values run
// together. All of it is unescaped. It is empty where there is a body that it does not
// tell.
func (q *request) plivoURL() string {
	address, _, _ := strings.Cut(q.address(), "?")
	query, form := sortedPairs(q.URL.Query(), "=", "&"), ""
	if len(q.body) > 0 {
		fields := q.encodedForm()
		if q.Method == http.MethodGet || fields == nil {
			return ""
		}
		form = sortedPairs(fields, "", "")
	}
	switch {
	case query == "" && form == "":
		return address
	case query == "" || form == "":
		return address + "?" + query + form
	}
	return address + "?" + query + "." + form
}

// sortedPairs joins the names and values of a form, in the order of both.
func sortedPairs(form url.Values, equals, between string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(form)) {
		for _, value := range slices.Sorted(slices.Values(form[name])) {
			all = append(all, name+equals+value)
		}
	}
	return strings.Join(all, between)
}
