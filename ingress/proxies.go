package ingress

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// An origin is where a request comes from and what it asked for, as far as those
// that are trusted know.
type origin struct {
	client string // the sender's IP address
	https  bool   // the sender spoke TLS
	host   string // with the port, if it named one
}

// proxies are the networks whose X-Forwarded-… headers are believed.
type proxies []netip.Prefix

// origin believes the forwarded headers as far as proxies of ours wrote them.
// Anybody can send such headers, and a proxy appends to what is there: the client
// is the rightmost address of X-Forwarded-For that is not a trusted proxy's.
func (p proxies) origin(r *http.Request) origin {
	o := origin{client: hostOf(r.RemoteAddr), https: r.TLS != nil, host: r.Host}
	if len(p) == 0 {
		return o
	}
	if peer, err := netip.ParseAddr(o.client); err != nil || !p.trust(peer) {
		return o
	}
	path := entries(r.Header["X-Forwarded-For"])
	at := len(path)
	for at > 0 {
		text := hostOf(path[at-1])
		addr, err := netip.ParseAddr(text)
		if err != nil {
			break // what a trusted proxy did not understand nobody vouches for
		}
		at, o.client = at-1, text
		if !p.trust(addr) {
			break
		}
	}
	if proto := told(r.Header["X-Forwarded-Proto"], at, len(path)); proto != "" {
		o.https = strings.EqualFold(proto, "https")
	}
	if host := told(r.Header["X-Forwarded-Host"], at, len(path)); host != "" {
		o.host = host
	}
	return o
}

func (p proxies) trust(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, network := range p {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// told is what the proxies say of the client's own request. Where each proxy
// appended, as to X-Forwarded-For, it stands at the client's place; where they
// replace or pass on, the last value is the nearest proxy's.
func told(values []string, at, of int) string {
	list := entries(values)
	switch {
	case len(list) == 0:
		return ""
	case len(list) == of && at < of:
		return list[at]
	}
	return list[len(list)-1]
}

// entries are the entries of a list header, which may stand there several times
// (https://www.rfc-editor.org/rfc/rfc9110#name-field-lines-and-combined-fi).
func entries(values []string) []string {
	if len(values) == 0 {
		return nil
	}
	list := strings.Split(strings.Join(values, ","), ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// hostOf is an address without port and brackets: 192.0.2.1:80, [2001:db8::1]:80,
// [2001:db8::1], and both addresses bare.
func hostOf(addr string) string {
	if inner, ok := strings.CutPrefix(addr, "["); ok {
		inner, _, _ = strings.Cut(inner, "]")
		return inner
	}
	if colon := strings.IndexByte(addr, ':'); colon >= 0 && colon == strings.LastIndexByte(addr, ':') {
		return addr[:colon]
	}
	return addr
}

// asCalled is the request with the URL that the sender called: the public one if
// it is configured, else what the origin says.
func asCalled(r *http.Request, public *url.URL, o origin) *http.Request {
	u := *r.URL
	u.Scheme, u.Host = "http", o.host
	if o.https {
		u.Scheme = "https"
	}
	if public != nil {
		u.Scheme, u.Host = public.Scheme, public.Host
		if public.Path != "" {
			u.RawPath = public.EscapedPath() + r.URL.EscapedPath()
			u.Path = public.Path + r.URL.Path
		}
	}
	called := *r
	called.URL, called.Host = &u, u.Host
	return &called
}
