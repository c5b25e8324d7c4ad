package receiver

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// No receiver of the catalogue accepts a signature and a time that somebody
// makes up, whatever they are written like.
func FuzzEverySignature(f *testing.F) {
	var all []*Source
	for _, name := range Names() {
		r, _ := Lookup(name)
		all = append(all, newSource(f, SourceConfig{Receiver: name, Secrets: []Secret{secretFor(f, r)}}))
	}
	f.Add(uint(0), "t=1795341600,v1=00 t=1,v1=00", "1795341600", someBody)
	known := vectors(f)
	for i, s := range all {
		for _, v := range known {
			if v.Receiver == s.receiver.Slug {
				f.Add(uint(i), v.Header[s.signatures[0].at.arg], "1795341600", []byte(v.Body)) //nolint:gosec // an index
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint, signature, at string, body []byte) {
		s := all[which%uint(len(all))]
		for _, contentType := range append([]string{"application/json"}, s.receiver.ContentTypes...) {
			r := newRequest(contentType, body)
			for _, name := range s.single {
				r.Header.Set(name, at)
			}
			for _, sig := range s.signatures {
				if sig.at.kind == header {
					r.Header.Set(sig.at.arg, signature)
				}
			}
			if got, err := s.Receive(r, body, now); got.Event != nil {
				t.Fatalf("%s stores %q, signed %q at %q: %v", s.Name(), body, signature, at, err)
			}
		}
	})
}

// A time is read or refused; what is read is that time, written anew.
func FuzzTimestamp(f *testing.F) {
	for _, text := range []string{"1795341600", "1795341600000", "2026-11-22T10:00:00Z", "2020-01-01T00:00:00-07:00", "0", "-1", "1e9", "999999999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, u := range units {
			at, err := u.parse(text)
			if err != nil {
				continue
			}
			again, err := u.parse(u.format(at))
			if year := at.UTC().Year(); year >= 0 && year < 10_000 && (err != nil || !again.Equal(at)) {
				t.Errorf("%s: %q is %v, and again %v, %v", name, text, at, again, err)
			}
			c := clock{tolerance: time.Minute}
			if err := c.check(at, now); err == nil && (at.Before(now.Add(-time.Minute)) || at.After(now.Add(time.Minute))) {
				t.Errorf("%s: %q is %v, and in time", name, text, at)
			}
		}
	})
}

// The host is the client's to choose: the URL with the other port is one with
// the same path and query, whatever it is.
func FuzzOtherPort(f *testing.F) {
	for _, host := range []string{"example.com", "example.com:443", "[::1]:80", "[::1]", "::1", ":", "a:b:c", ""} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		r := httptest.NewRequest(http.MethodPost, "https://example.com/x?a=1", nil)
		r.Host = host
		q := (&Source{}).request(r, nil)
		other := q.otherPort()
		if !strings.HasPrefix(other, "https://") || !strings.HasSuffix(other, "/x?a=1") || other == q.address() {
			t.Errorf("%q: %q beside %q", host, other, q.address())
		}
	})
}
