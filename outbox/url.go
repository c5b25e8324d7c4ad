package outbox

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// parseURL reads a URL that deliveries are posted to, and returns it with its
// host in the form of the wire: xn--bcher-kva.example for bücher.example. The
// problem is "" if there is none. An address that a name resolves to is judged
// when the connection is made.
func parseURL(text string, policy addressPolicy) (canonical, problem string) {
	text, problem = asciiHost(text)
	if problem == "" {
		problem = badURL(text, policy)
	}
	return text, problem
}

// asciiHost writes the host of a URL in ASCII. What has no such host is left for
// badURL.
func asciiHost(text string) (ascii, problem string) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return text, ""
	}
	end := len(rest)
	if i := strings.IndexAny(rest, `/?#\`); i >= 0 {
		end = i
	}
	authority := rest[:end]
	host, port, _ := strings.Cut(authority, ":")
	if isASCII(host) || strings.ContainsAny(authority, "@[]%") {
		return text, ""
	}
	host, err := idna.Lookup.ToASCII(host)
	if err != nil {
		return text, "want a host name that can be looked up; as letters of other scripts this one cannot"
	}
	if port != "" {
		host += ":" + port
	}
	return scheme + "://" + host + rest[end:], ""
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > '~' })
}

// badURL says why deliveries cannot be posted to a URL; "" if they can.
func badURL(text string, policy addressPolicy) string {
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' || c == '\\' {
			return "want printable ASCII without spaces behind the host: write other characters as %XX"
		}
	}
	u, err := url.Parse(text)
	if err != nil {
		return "want a URL like https://example.com/hook"
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return "want an absolute URL that begins with https://"
	case u.Scheme == "http" && !policy.plainHTTP:
		return "want https: plain http is not allowed here"
	case u.Hostname() == "":
		return "want a URL with a host"
	case u.User != nil:
		return "want no user name or password in the URL; a header can hold them"
	case strings.Contains(text, "#"):
		return "want no fragment: it is never sent"
	}
	return badHost(u, policy)
}

// badPorts belong to other protocols, which a request could be made to speak to
// (https://fetch.spec.whatwg.org/#port-blocking).
var badPorts = []int{
	1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
	111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
	540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
	6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
}

func badHost(u *url.URL, policy addressPolicy) string {
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return "want a port from 1 to 65535, or none"
		}
		if slices.Contains(badPorts, n) {
			return "want another port: this one belongs to another protocol"
		}
	}
	host := u.Hostname()
	if strings.Contains(host, "%") {
		return "want a host without an IPv6 zone or escapes"
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if err := policy.check(addr); err != nil {
			return "want an address that is public: " + err.Error()
		}
		return ""
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notInHost) {
			return "want a host name of letters, digits, hyphens and dots"
		}
	}
	return ""
}

func notInHost(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
}
