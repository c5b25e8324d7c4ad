package ingress

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
)

func TestOrigin(t *testing.T) {
	ours := proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, test := range map[string]struct {
		nobody bool // is trusted
		peer   string
		tls    bool
		header http.Header
		want   origin
	}{
		"direct":                         {peer: "192.0.2.1:5000", want: origin{"192.0.2.1", false, "door"}},
		"direct, IPv6":                   {peer: "[2001:db8::1]:5000", want: origin{"2001:db8::1", false, "door"}},
		"direct, TLS":                    {peer: "192.0.2.1:5000", tls: true, want: origin{"192.0.2.1", true, "door"}},
		"nobody is trusted":              {nobody: true, peer: "10.0.0.1:5000", header: forwarded("192.0.2.7", "https", "evil"), want: origin{"10.0.0.1", false, "door"}},
		"not from a proxy":               {peer: "192.0.2.1:5000", header: forwarded("192.0.2.7", "https", "evil"), want: origin{"192.0.2.1", false, "door"}},
		"no address at all":              {peer: "@", header: forwarded("192.0.2.7", "https", "evil"), want: origin{"@", false, "door"}},
		"one proxy":                      {peer: "10.0.0.1:5000", header: forwarded("192.0.2.7", "https", "hooks.example.com"), want: origin{"192.0.2.7", true, "hooks.example.com"}},
		"one proxy, over IPv6":           {peer: "[fd00::1]:5000", header: forwarded("2001:db8::7", "https", "hooks:8443"), want: origin{"2001:db8::7", true, "hooks:8443"}},
		"IPv4 in IPv6":                   {peer: "[::ffff:10.0.0.1]:5000", header: forwarded("192.0.2.7", "https", "hooks"), want: origin{"192.0.2.7", true, "hooks"}},
		"IPv6 with a zone":               {peer: "[fd00::1%eth0]:5000", header: forwarded("192.0.2.7", "https", "hooks"), want: origin{"192.0.2.7", true, "hooks"}},
		"a proxy that says nothing":      {peer: "10.0.0.1:5000", want: origin{"10.0.0.1", false, "door"}},
		"nothing, over TLS":              {peer: "10.0.0.1:5000", tls: true, want: origin{"10.0.0.1", true, "door"}},
		"http in front of TLS":           {peer: "10.0.0.1:5000", tls: true, header: forwarded("192.0.2.7", "http", ""), want: origin{"192.0.2.7", false, "door"}},
		"two proxies":                    {peer: "10.0.0.1:5000", header: forwarded("192.0.2.7, 10.9.9.9", "https", "hooks"), want: origin{"192.0.2.7", true, "hooks"}},
		"in two lines":                   {peer: "10.0.0.1:5000", header: http.Header{"X-Forwarded-For": {"192.0.2.7", "10.9.9.9"}}, want: origin{"192.0.2.7", false, "door"}},
		"what the client claims":         {peer: "10.0.0.1:5000", header: forwarded("10.1.1.1, 198.51.100.1, 192.0.2.7", "https", "hooks"), want: origin{"192.0.2.7", true, "hooks"}},
		"behind a proxy of its own":      {peer: "10.0.0.1:5000", header: forwarded("192.168.0.5, 192.0.2.7, 10.9.9.9", "", ""), want: origin{"192.0.2.7", false, "door"}},
		"with ports":                     {peer: "10.0.0.1:5000", header: forwarded("192.0.2.7:4711, 10.9.9.9:80", "", ""), want: origin{"192.0.2.7", false, "door"}},
		"IPv6 with a port":               {peer: "10.0.0.1:5000", header: forwarded("[2001:db8::7]:4711", "", ""), want: origin{"2001:db8::7", false, "door"}},
		"all are proxies":                {peer: "10.0.0.1:5000", header: forwarded("10.3.3.3, 10.2.2.2", "", ""), want: origin{"10.3.3.3", false, "door"}},
		"what is no address":             {peer: "10.0.0.1:5000", header: forwarded("192.0.2.7, unknown, 10.2.2.2", "", ""), want: origin{"10.2.2.2", false, "door"}},
		"nothing but no address":         {peer: "10.0.0.1:5000", header: forwarded("<script>", "", ""), want: origin{"10.0.0.1", false, "door"}},
		"empty":                          {peer: "10.0.0.1:5000", header: forwarded("", "", ""), want: origin{"10.0.0.1", false, "door"}},
		"a scheme for each, the claimed": {peer: "10.0.0.1:5000", header: forwarded("198.51.100.1, 192.0.2.7", "https, http", ""), want: origin{"192.0.2.7", false, "door"}},
		"a scheme for each, the edge's":  {peer: "10.0.0.1:5000", header: forwarded("192.0.2.7, 10.9.9.9", "https, http", "hooks, inner"), want: origin{"192.0.2.7", true, "hooks"}},
		"a scheme too few":               {peer: "10.0.0.1:5000", header: forwarded("198.51.100.1, 192.0.2.7, 10.9.9.9", "https, http", ""), want: origin{"192.0.2.7", false, "door"}},
		"a scheme in capitals":           {peer: "10.0.0.1:5000", header: forwarded("192.0.2.7", "HTTPS", ""), want: origin{"192.0.2.7", true, "door"}},
		"a scheme of its own":            {peer: "10.0.0.1:5000", header: forwarded("192.0.2.7", "wss", ""), want: origin{"192.0.2.7", false, "door"}},
		"a scheme without an address":    {peer: "10.0.0.1:5000", header: http.Header{"X-Forwarded-Proto": {"https"}}, want: origin{"10.0.0.1", true, "door"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/webhooks/github", nil)
			r.Host, r.RemoteAddr = "door", test.peer
			if test.header != nil {
				r.Header = test.header
			}
			if test.tls {
				r.TLS = &tls.ConnectionState{}
			}
			trusted := ours
			if test.nobody {
				trusted = nil
			}
			if got := trusted.origin(r); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

func forwarded(client, proto, host string) http.Header {
	h := http.Header{"X-Forwarded-For": {client}}
	if proto != "" {
		h.Set("X-Forwarded-Proto", proto)
	}
	if host != "" {
		h.Set("X-Forwarded-Host", host)
	}
	return h
}

// Whatever a client sends, an address is an address, and one that only trusted
// proxies are allowed to name is named by them.
func FuzzOrigin(f *testing.F) {
	f.Add("192.0.2.7, 10.9.9.9", "https, http", "hooks")
	f.Add("[2001:db8::7]:4711,unknown", "https", "")
	f.Add("::ffff:10.0.0.1, ,[", ",", ",,")
	ours := proxies{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, client, proto, host string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header, r.RemoteAddr = forwarded(client, proto, host), "10.0.0.1:1"
		if got := ours.origin(r); !netip.MustParseAddr(got.client).IsValid() {
			t.Errorf("%q", got.client)
		}
		// The nearest proxy appends the address that it sees. All before it is a claim.
		r.Header.Add("X-Forwarded-For", "192.0.2.7")
		if got := ours.origin(r); got.client != "192.0.2.7" {
			t.Errorf("client %q, want the one that the proxy saw", got.client)
		}
		r.RemoteAddr = "192.0.2.1:1"
		if got := ours.origin(r); got != (origin{"192.0.2.1", false, r.Host}) {
			t.Errorf("from nobody we trust: %+v", got)
		}
	})
}

func TestAsCalled(t *testing.T) {
	for name, test := range map[string]struct {
		public, target string
		origin         origin
		want           string
	}{
		"as it came":         {"", "/webhooks/x?a=b%2Fc", origin{host: "door:8080"}, "http://door:8080/webhooks/x?a=b%2Fc"},
		"over TLS":           {"", "/webhooks/x", origin{host: "door", https: true}, "https://door/webhooks/x"},
		"another in the URL": {"", "ftp://evil/webhooks/x", origin{host: "door"}, "http://door/webhooks/x"},
		"public":             {"https://hooks.example.com", "/webhooks/x?q", origin{host: "door"}, "https://hooks.example.com/webhooks/x?q"},
		"public, with path":  {"https://example.com/belay", "/webhooks/x", origin{host: "door"}, "https://example.com/belay/webhooks/x"},
		"escaped path":       {"https://example.com/a%2Fb", "/webhooks/x%2Fy", origin{host: "door"}, "https://example.com/a%2Fb/webhooks/x%2Fy"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, test.target, nil)
			before := *r.URL
			var public *url.URL
			if test.public != "" {
				var err error
				if public, err = url.Parse(test.public); err != nil {
					t.Fatal(err)
				}
			}
			called := asCalled(r, public, test.origin)
			if got := called.URL.String(); got != test.want || called.Host != called.URL.Host {
				t.Errorf("%s of host %s, want %s", got, called.Host, test.want)
			}
			if *r.URL != before {
				t.Errorf("the request itself now has %s", r.URL)
			}
		})
	}
}
