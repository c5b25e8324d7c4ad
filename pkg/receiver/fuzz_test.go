package receiver

import (
	"errors"
	"strings"
	"testing"
)

// No header that somebody makes up is accepted, and none is the end of us.
func FuzzSignatureHeader(f *testing.F) {
	for _, v := range vectors(f) {
		for _, value := range v.Header {
			f.Add(value, "1")
		}
	}
	all := cases(f)
	f.Fuzz(func(t *testing.T, signature, second string) {
		for name, s := range all {
			r := newRequest("application/json", someBody)
			r.Header.Set("Webhook-Id", second)
			for _, header := range s.single {
				if s.clock != nil && header == s.clock.at.arg && header != s.signatures[0].at.arg {
					r.Header.Set(header, second)
				}
			}
			r.Header.Set(s.signatures[0].at.arg, signature)
			_, err := s.Receive(r, someBody, now)
			refusal, ok := errors.AsType[*Refusal](err)
			if !ok {
				t.Fatalf("%s: %q and %q: %v", name, signature, second, err)
			}
			if len(signature) > 16 && strings.Contains(refusal.Detail, signature) {
				t.Errorf("%s: the detail quotes the header: %s", name, refusal.Detail)
			}
		}
	})
}

// Whatever a sender signs is an event that can be stored, or unreadable.
func FuzzBody(f *testing.F) {
	f.Add([]byte(`{"action":"opened","repository":{"full_name":"a/b"}}`), "application/json", "issues")
	f.Add([]byte(`payload=%7B%22action%22%3A%22opened%22%7D`), "application/x-www-form-urlencoded", "issues")
	f.Add([]byte(`payload=%`), "application/x-www-form-urlencoded", "")
	s := newSource(f, SourceConfig{Receiver: "github"})
	f.Fuzz(func(t *testing.T, body []byte, contentType, name string) {
		r := newRequest(contentType, body)
		r.Header.Set("X-GitHub-Event", name)
		if _, err := s.Sign(r, body, now); err != nil {
			t.Fatal(err)
		}
		got, err := s.Receive(r, body, now)
		switch {
		case err != nil && reasonOf(err) != Unreadable:
			t.Fatal(err)
		case err == nil && got.Event != nil && (got.Event.ID == "" || !strings.HasPrefix(got.Event.Type, "github")):
			t.Errorf("event %+v", got.Event)
		}
	})
}

func BenchmarkReceive(b *testing.B) {
	for _, test := range []struct{ receiver, event string }{{"github", "push"}, {"stripe", "charge.succeeded"}} {
		b.Run(test.receiver, func(b *testing.B) {
			s := newSource(b, SourceConfig{Receiver: test.receiver})
			body := payload(b, test.receiver, test.event+".json")
			r := signed(b, s, "application/json", body, map[string]string{"X-GitHub-Event": test.event})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Receive(r, body, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Whatever comes, no receiver of the catalogue stores what is not signed, and
// none breaks.
func FuzzUnsigned(f *testing.F) {
	f.Add("GET", "hub.mode=subscribe&hub.challenge=1&crc_token=a", "", "")
	f.Add("POST", "a=%zz;", "application/x-www-form-urlencoded", "webhook_id=1&payload=%7B&ssl_check=1")
	f.Add("POST", "", "application/json", `{"signature":{"timestamp":"1","token":"t","signature":"00"},"webhookTimestamp":1}`)
	f.Add("HEAD", "", "", "")
	var all []*Source
	for _, name := range Names() {
		r, _ := Lookup(name)
		all = append(all, newSource(f, SourceConfig{Receiver: name, Secrets: []Secret{secretFor(f, r)}}))
	}
	f.Fuzz(func(t *testing.T, method, query, contentType, body string) {
		for _, s := range all {
			r := newRequest(contentType, nil)
			r.Method, r.URL.RawQuery = method, query
			got, err := s.Receive(r, []byte(body), now)
			if got.Event != nil {
				t.Fatalf("%s stores %q", s.Name(), body)
			}
			if _, ok := errors.AsType[*Refusal](err); err != nil && !ok {
				t.Fatal(err)
			}
		}
	})
}

// A secret is a key or it is not, whatever it is.
func FuzzKeys(f *testing.F) {
	f.Add("whpk_AAAA", []byte("signature"))
	f.Add("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", []byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Fuzz(func(t *testing.T, secret string, signature []byte) {
		content, q := template{{kind: body}}, (&Source{}).request(newRequest("text/plain", nil), nil)
		for name, form := range keyForms {
			key, err := form(secret)
			if err != nil {
				continue
			}
			for _, algorithm := range []string{"ed25519", "ecdsa-sha256", "rsa-sha1", "rsa-sha256"} {
				a := algorithms[algorithm]
				err := a.check(key)
				if matches := a.fits(len(signature)) && a.match(key, [][]byte{signature}, content, q); err != nil && matches {
					t.Errorf("%s verifies with a %s that is none", algorithm, name)
				}
			}
		}
	})
}
