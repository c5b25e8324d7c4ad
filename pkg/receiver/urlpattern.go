package receiver

import (
	"errors"
	"net"
	"net/url"
	"strings"
)

// maxURL bounds in bytes a URL that a request tells us to fetch.
const maxURL = 1024

// A urlPattern is a URL that may be fetched: https, the default port, and a *
// for any run of letters, digits, dashes and underscores. So a * spans neither a
// label of the host nor a segment of the path, and nothing that is encoded fits
// it. A pattern that ends in ?* fits any query; others fit none.
type urlPattern struct {
	host, path string
	anyQuery   bool
}

var errURLPattern = errors.New("an https URL of a host with a name, without port, user and fragment, in which * stands for letters, digits, - and _")

// parseURLPattern reads a pattern.
func parseURLPattern(text string) (urlPattern, error) {
	text, anyQuery := strings.CutSuffix(text, "?*")
	rest, ok := strings.CutPrefix(text, "https://")
	host, path, _ := strings.Cut(rest, "/")
	p := urlPattern{host: host, path: "/" + path, anyQuery: anyQuery}
	const hostLetters = "abcdefghijklmnopqrstuvwxyz0123456789-.*"
	labels := strings.Split(host, ".")
	switch last := labels[len(labels)-1]; {
	case !ok, strings.Trim(host, hostLetters) != "", net.ParseIP(host) != nil,
		len(labels) < 2, strings.Contains(last, "*"), strings.Trim(last, "0123456789") == "":
		return p, errURLPattern
	case strings.ContainsAny(rest, "?#\\%"), strings.Contains("/"+path+"/", "/./"), strings.Contains("/"+path+"/", "/../"), strings.Contains(path, "//"):
		return p, errURLPattern
	}
	return p, nil
}

// fits reports whether the text is a URL that the pattern allows. It compares
// what will be fetched, not what was written.
func (p urlPattern) fits(text string) bool {
	if len(text) > maxURL {
		return false
	}
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "https", u.User != nil, u.Opaque != "", u.Fragment != "" || strings.Contains(text, "#"):
		return false
	case !p.anyQuery && (u.RawQuery != "" || u.ForceQuery):
		return false
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return wild(p.host, u.Host) && wild(p.path, path)
}

// wild reports whether a text is what a pattern with stars says. Each * stands
// for one or more letters, digits, dashes and underscores.
func wild(pattern, text string) bool {
	before, after, starred := strings.Cut(pattern, "*")
	if !starred {
		return pattern == text
	}
	rest, ok := strings.CutPrefix(text, before)
	for i := 0; ok && i < len(rest) && isWord(rest[i]); i++ {
		if wild(after, rest[i+1:]) {
			return true
		}
	}
	return false
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// urlPatterns is an allow-list.
type urlPatterns []urlPattern

func (all urlPatterns) fit(text string) bool {
	for _, p := range all {
		if p.fits(text) {
			return true
		}
	}
	return false
}
