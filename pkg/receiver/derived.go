package receiver

import (
	"crypto/sha256"
	"encoding/base64"
	"hash/crc32"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// derived is what a part that is computed of the request stands for.
func (q *request) derived(p part) string {
	switch p.kind {
	case bodyCRC32:
		return strconv.FormatUint(uint64(crc32.ChecksumIEEE(q.body)), 10)
	case bodySHA256:
		sum := sha256.Sum256(q.body)
		return string(sum[:])
	case bodyBase64:
		return base64.StdEncoding.EncodeToString(q.body)
	case jsonLine:
		return q.jsonLine(p)
	case canonicalRequest:
		return q.canonical(p.arg)
	}
	return ""
}

// jsonLine is name and value of a member, each on a line; empty if there is none,
// or the value would be more than a line: where one ends must be clear.
func (q *request) jsonLine(p part) string {
	value := q.document.get(p)
	if value == "" || strings.Contains(value, "\n") {
		return ""
	}
	return p.member + "\n" + value + "\n"
}

// canonical is the text whose hash Atlassian Connect puts into its tokens
// (https://developer.atlassian.com/cloud/jira/platform/understanding-jwt-for-connect-apps/#creating-a-query-string-hash):
// method, path and query; the query without the token, encoded as RFC 3986 says,
// sorted by name, and the values of one name joined by commas. The path is that
// below the base.
func (q *request) canonical(base string) string {
	path, below := strings.CutPrefix(q.URL.EscapedPath(), strings.TrimSuffix(base, "/"))
	if !below || path != "" && path[0] != '/' {
		return ""
	}
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		path = "/"
	}
	return strings.ToUpper(q.Method) + "&" + strings.ReplaceAll(path, "&", "%26") + "&" + canonicalQuery(q.URL.Query())
}

func canonicalQuery(query url.Values) string {
	encoded := map[string]string{}
	for name, values := range query {
		if name == "jwt" {
			continue
		}
		all := make([]string, len(values))
		for i, v := range values {
			all[i] = encodeRFC3986(v)
		}
		slices.Sort(all)
		encoded[encodeRFC3986(name)] = strings.Join(all, ",")
	}
	pairs := make([]string, 0, len(encoded))
	for _, name := range slices.Sorted(maps.Keys(encoded)) {
		pairs = append(pairs, name+"="+encoded[name])
	}
	return strings.Join(pairs, "&")
}

// encodeRFC3986 encodes all but the unreserved characters
// (https://www.rfc-editor.org/rfc/rfc3986#section-2.3).
func encodeRFC3986(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
