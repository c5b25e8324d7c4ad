package outbox

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// hidden stands for the value of a header where a subscription is shown. Written
// back, it keeps the value that is stored.
const hidden = "[hidden]"

// ours are the headers of a request that a subscription cannot set: those of the
// connection, those that the body decides, and those that a signature is read
// from.
var ours = []string{
	"connection", "content-encoding", "content-length", "content-type", "expect", "host", "http2-settings", "keep-alive",
	"ms-signature", "te", "trailer", "transfer-encoding", "upgrade", "x-hub-signature", "x-hub-signature-256",
}

// oursPrefixes begin the names of more of them.
var oursPrefixes = []string{"webhook-", "svix-", "belay-", "ce-", "proxy-"}

// withoutSecrets is the header of a request as it may be shown: without the values
// that the subscription has set, and without signatures, which could be sent again.
func (s *Subscription) withoutSecrets(header http.Header) http.Header {
	shown := maps.Clone(header)
	for name := range s.Headers {
		shown.Set(name, hidden) // however it is capitalised there
	}
	for name := range shown {
		if strings.Contains(name, "Signature") {
			shown.Set(name, hidden)
		}
	}
	return shown
}

// badHeader says why a header cannot be sent; "" if it can.
func badHeader(name, value string) string {
	lower := strings.ToLower(name)
	switch {
	case len(name) > maxHeaderName || !httpguts.ValidHeaderFieldName(name):
		return "want a header name of at most 64 letters, digits and hyphens"
	case slices.Contains(ours, lower), slices.ContainsFunc(oursPrefixes, func(p string) bool { return strings.HasPrefix(lower, p) }):
		return "want another header: this one is set by the outbox or by the connection"
	case len(value) > maxHeaderValue || !httpguts.ValidHeaderFieldValue(value) || !isASCII(value) || strings.TrimSpace(value) != value:
		return "want a value of at most 1024 printable ASCII characters in one line, without blanks around it"
	}
	return ""
}
