package receiver

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"iter"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxUnpacked bounds in bytes what a compressed body may become.
const maxUnpacked = 4 << 20

// bodyVariants yields what a body may have been before something changed it, and
// what that would be called.
func bodyVariants(body []byte, contentType string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, group := range []iter.Seq2[string, []byte]{textVariants(body), formVariants(body, contentType), jsonVariants(body)} {
			for what, variant := range group {
				if !yield(what, variant) {
					return
				}
			}
		}
	}
}

// textVariants are about white space, charset and wrapping.
func textVariants(body []byte) iter.Seq2[string, []byte] {
	bom := []byte("\xef\xbb\xbf")
	return func(yield func(string, []byte) bool) {
		_ = yield("the body with a newline at its end", append(bytes.Clone(body), '\n')) &&
			yield("the body without the newline at its end", bytes.TrimRight(body, "\r\n")) &&
			yield("the body without the white space around it", bytes.TrimSpace(body)) &&
			yield("the body with a CRLF at its end", append(bytes.Clone(body), "\r\n"...)) &&
			yield("the body with LF for CRLF", bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))) &&
			yield("the body with CRLF for LF", bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n"))) &&
			yield("the body without the byte order mark", bytes.TrimPrefix(body, bom)) &&
			yield("the body with a byte order mark", append(bom, body...)) &&
			yield("the body in UTF-8, and not in Latin-1", fromLatin1(body)) &&
			yield("the body in Latin-1, and not in UTF-8", toLatin1(body)) &&
			yield("the body that is packed here as gzip, unpacked", gunzip(body)) &&
			yield("the body that is here in base64, decoded", decoded(body)) &&
			yield("the body that stands here in a JSON string", unquoted(body)) &&
			yield("an empty body", nil)
	}
}

func fromLatin1(body []byte) []byte {
	out := make([]byte, 0, len(body)+len(body)/8)
	for _, b := range body {
		out = utf8.AppendRune(out, rune(b))
	}
	return out
}

// toLatin1 is the body itself where it cannot be told in Latin-1.
func toLatin1(body []byte) []byte {
	out := make([]byte, 0, len(body))
	for _, r := range string(body) {
		if r > 0xff {
			return body
		}
		out = append(out, byte(r))
	}
	return out
}

func gunzip(body []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return body
	}
	out, err := io.ReadAll(io.LimitReader(r, maxUnpacked))
	if err != nil {
		return body
	}
	return out
}

func decoded(body []byte) []byte {
	out, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(body))
	if err != nil {
		return body
	}
	return out
}

func unquoted(body []byte) []byte {
	var text string
	if len(body) == 0 || body[0] != '"' || json.Unmarshal(body, &text) != nil {
		return body
	}
	return []byte(text)
}

// formVariants are about forms that were written again, or taken for JSON.
func formVariants(body []byte, contentType string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if bytes.IndexByte(body, '{') == 0 || isJSON(mediaType(contentType)) {
			yield("a form whose field payload is the body", []byte("payload="+url.QueryEscape(string(body))))
			return
		}
		if bytes.Count(body, []byte("&")) >= maxFields {
			return
		}
		form, err := url.ParseQuery(string(body))
		if err != nil || len(form) == 0 {
			return
		}
		text := string(body)
		_ = yield("the form with its fields in the order of their names", []byte(form.Encode())) &&
			yield("the form with %20 for +", []byte(strings.ReplaceAll(text, "+", "%20"))) &&
			yield("the form with + for %20", []byte(strings.ReplaceAll(text, "%20", "+"))) &&
			yield("the form with escapes in small letters", []byte(smallEscapes(text))) &&
			yield("the form with its escapes decoded", []byte(unescaped(text))) &&
			yield("the field payload alone", []byte(form.Get("payload")))
	}
}

func unescaped(text string) string {
	if out, err := url.QueryUnescape(text); err == nil {
		return out
	}
	return text
}

// smallEscapes writes %2F as %2f.
func smallEscapes(text string) string {
	out := []byte(text)
	for i := 0; i+2 < len(out); i++ {
		if out[i] == '%' {
			copy(out[i+1:i+3], bytes.ToLower(out[i+1:i+3]))
		}
	}
	return string(out)
}
