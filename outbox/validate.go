package outbox

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/webhook"
)

// The limits of a subscription's fields, in bytes and entries.
const (
	maxURL         = 2048
	maxDescription = 1024
	maxFilters     = 100
	maxFilter      = 256
	maxSecretText  = 128
)

// newSubscription makes a subscription of a request:
//
//	{"url": "https://…", "filters": ["deploy.*"], "description": "…", "secret": "whsec_…"}
//
// Only url is required. Without filters it gets all events, without a secret a
// new one is made.
func newSubscription(body []byte, tenant string, policy addressPolicy, now time.Time) (*Subscription, error) {
	f, err := readFields(body)
	if err != nil {
		return nil, err
	}
	f.Only("url", "description", "filters", "secret")
	s := &Subscription{Tenant: tenant, Created: now.UTC()}
	s.URL = f.url("url", policy)
	s.Description = f.Text("description", maxDescription)
	s.Filters = f.filters("filters")
	s.secrets = []webhook.Secret{f.secret("secret")}
	if err := f.Err(); err != nil {
		return nil, err
	}
	s.ID, err = newSubscriptionID()
	return s, err
}

func (f fields) url(name string, policy addressPolicy) string {
	if !f.Has(name) {
		f.Bad("required: the absolute URL that deliveries are posted to", name)
		return ""
	}
	before := len(f.Errs)
	text := f.Text(name, maxURL)
	if len(f.Errs) == before {
		if detail := badURL(text, policy); detail != "" {
			f.Bad(detail, name)
		}
	}
	return text
}

// badURL says why deliveries cannot be posted to a URL; "" if they can. An
// address that a name resolves to is judged when the connection is made.
func badURL(text string, policy addressPolicy) string {
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' || c == '\\' {
			return "want printable ASCII without spaces: write other characters as %XX, names of other scripts as xn--…"
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
		return "want no user name or password in the URL"
	case strings.Contains(text, "#"):
		return "want no fragment: it is never sent"
	}
	return badHost(u, policy)
}

func badHost(u *url.URL, policy addressPolicy) string {
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return "want a port from 1 to 65535, or none"
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

func (f fields) filters(name string) []string {
	filters := f.Texts(name, maxFilters, maxFilter)
	if filters == nil {
		if f.Has(name) && string(f.Raw[name]) == "[]" {
			f.Bad(`want at least one filter; ["*"] is all events`, name)
		}
		filters = []string{"*"}
	}
	for i, filter := range filters {
		if _, err := event.ParsePattern(filter); err != nil {
			f.Bad(err.Error(), name, strconv.Itoa(i))
		}
	}
	return filters
}

func (f fields) secret(name string) webhook.Secret {
	if !f.Has(name) {
		return webhook.NewSecret()
	}
	before := len(f.Errs)
	text := f.Text(name, maxSecretText)
	if len(f.Errs) > before {
		return webhook.Secret{}
	}
	secret, err := webhook.ParseSecret(text)
	if err != nil {
		f.Bad("want whsec_ and the base64 of 24 to 64 random bytes; without this field one is made", name)
	}
	return secret
}
