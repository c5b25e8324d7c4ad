package receiver

import (
	"iter"
	"net/url"
	"slices"
	"strings"
)

// otherURL looks for the URL that was signed.
func (i *inquest) otherURL() (Diagnosis, bool) {
	for _, sig := range i.plain {
		at := slices.IndexFunc(sig.content, isURL)
		if at < 0 {
			continue
		}
		for _, text := range []string{i.q.value(sig.content[at]), i.q.address()} {
			u, err := url.Parse(text)
			if err != nil || u.Host == "" {
				continue
			}
			other := *sig
			other.content = slices.Clone(sig.content)
			candidates := sig.candidates(nil, i.q)
			for what, variant := range i.urls(u) {
				other.content[at] = part{kind: literal, arg: variant}
				for _, key := range i.keys(sig) {
					if i.holds(&other, key, candidates, i.q) {
						if what == "" {
							what = "the URL that was called"
						}
						return Diagnosis{
							CauseURL, "the signature is that of " + what,
							"Set BELAY_PUBLIC_URL to what is entered at the provider, up to the path, or trust the proxies before Belay (BELAY_TRUSTED_PROXIES); where the receiver has a parameter url, set it to the whole URL.",
						}, true
					}
				}
			}
		}
	}
	return Diagnosis{}, false
}

// isURL reports whether a part of a template is the URL: the one that was called,
// or one that a parameter says.
func isURL(p part) bool {
	return p.kind == address || p.kind == literal && (strings.HasPrefix(p.arg, "http://") || strings.HasPrefix(p.arg, "https://"))
}

// A change is one way in which a URL may have been another one.
type change struct {
	what, text string // what it is called, and what stands there
}

// urls yields the URLs that may have been called, and what is other in them.
func (i *inquest) urls(u *url.URL) iter.Seq2[string, string] {
	schemes := []change{{"", u.Scheme}, {"https", "https"}, {"http", "http"}}
	hosts, paths := i.hosts(u), i.paths(u)
	queries := []change{
		{"", question(u.RawQuery)}, {"without the query", ""},
		{"with the query in the order of its names", question(u.Query().Encode())},
		{"with the query's escapes decoded", question(unescaped(u.RawQuery))},
	}
	return func(yield func(string, string) bool) {
		for _, path := range paths {
			for _, query := range queries {
				if strings.Contains(path.text, "?") {
					query = change{}
				}
				for _, host := range hosts {
					for _, scheme := range schemes {
						var names []string
						for _, c := range []change{scheme, host, path, query} {
							if c.what != "" {
								names = append(names, c.what)
							}
						}
						what := ""
						if len(names) > 0 {
							what = "the URL " + strings.Join(names, ", ")
						}
						if !yield(what, scheme.text+"://"+host.text+path.text+query.text) {
							return
						}
					}
				}
			}
		}
	}
}

func question(query string) string {
	if query == "" {
		return ""
	}
	return "?" + query
}

// hosts are those that the proxies' headers name, with and without a port.
func (i *inquest) hosts(u *url.URL) []change {
	all := []change{{"", u.Host}, {"without the port", u.Hostname()}}
	for _, port := range []string{"443", "80", "8080", "8443"} {
		all = append(all, change{"with the port " + port, u.Hostname() + ":" + port})
	}
	for _, name := range []string{"X-Forwarded-Host", "X-Original-Host", "X-Forwarded-Server", "Host"} {
		host, _, _ := strings.Cut(i.Request.Header.Get(name), ",")
		if host = strings.TrimSpace(host); host != "" && len(host) < 256 {
			all = append(all, change{"with the host of " + name, host})
		}
	}
	return append(all, change{"with the host of the request", i.Request.Host})
}

// paths are those that the proxies' headers name, with and without a slash.
func (i *inquest) paths(u *url.URL) []change {
	path := u.EscapedPath()
	all := []change{{"", path}}
	if bare, ok := strings.CutSuffix(path, "/"); ok {
		all = append(all, change{"without the slash at the end of the path", bare})
	} else {
		all = append(all, change{"with a slash at the end of the path", path + "/"})
	}
	if u.Path != path {
		all = append(all, change{"with the path's escapes decoded", u.Path})
	}
	for _, name := range []string{"X-Forwarded-Uri", "X-Original-Uri", "X-Original-Url", "X-Envoy-Original-Path"} {
		if v := i.Request.Header.Get(name); strings.HasPrefix(v, "/") && len(v) < 2048 {
			all = append(all, change{"with the path of " + name, v})
		}
	}
	if prefix := i.Request.Header.Get("X-Forwarded-Prefix"); strings.HasPrefix(prefix, "/") && len(prefix) < 2048 {
		all = append(all, change{"with the path of X-Forwarded-Prefix", strings.TrimSuffix(prefix, "/") + path})
	}
	return all
}
