package receiver

import (
	"encoding/json"
	"net/http"
	"testing"
)

func withToken(r *http.Request) *http.Request {
	r.Header.Set("X-S", "user:password")
	return r
}

// The older scheme counts for who asks for it, and for nobody else.
func TestSchemes(t *testing.T) {
	const form = `
params: {scheme: {default: signature, allowed: [signature, code]}}
signatures:
  - {scheme: signature, header: X-Sig, encoding: hex, algorithm: hmac-sha256, content: "{timestamp}{body}"}
  - {scheme: code, query: code, encoding: text, algorithm: token}
timestamp: {scheme: signature, header: X-T, unit: s, tolerance: 5m}
`
	modern, err := formed(form, nil)
	if err != nil {
		t.Fatal(err)
	}
	older, err := formed(form, map[string]string{"scheme": "code"})
	if err != nil {
		t.Fatal(err)
	}
	signed, coded := newRequest("text/plain", nil), newRequest("text/plain", nil)
	if _, err := modern.Sign(signed, nil, now); err != nil {
		t.Fatal(err)
	}
	if _, err := older.Sign(coded, nil, now); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		source *Source
		r      *http.Request
		want   Reason
	}{
		"signed":                 {modern, signed, ""},
		"a code":                 {older, coded, ""},
		"a code for a signature": {modern, coded, SignatureMissing},
		"a signature for a code": {older, signed, SignatureMissing},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := test.source.Receive(test.r, nil, now); reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	if _, err := formed("params: {scheme: {default: a}}\nsignatures: [{scheme: b, header: X-S, encoding: text, algorithm: token}]", nil); err == nil {
		t.Error("a source without a signature")
	}
}

// A secret with the name of a key is for the requests of that name.
func TestKeysByName(t *testing.T) {
	s, err := formed("signatures: [{header: X-S, key_id: '{header:X-Key}', encoding: hex, algorithm: hmac-sha256, content: '{body}'}]", nil)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(secret, name string) *http.Request {
		s.secrets = []Secret{text(secret)}
		r := newRequest("text/plain", nil)
		r.Header.Set("X-Key", name)
		if _, err := s.Sign(r, nil, now); err != nil {
			t.Fatal(err)
		}
		return r
	}
	one := sign("k1:one", "")
	if one.Header.Get("X-Key") != "k1" {
		t.Errorf("signed with the name %q", one.Header.Get("X-Key"))
	}
	two, unnamed, swapped, unknown := sign("k2:two", ""), sign("three", "k9"), sign("k1:one", ""), sign("one", "k8")
	swapped.Header.Set("X-Key", "k2")
	s.secrets = []Secret{text("k1:one"), text("k2:two"), text("three")}
	for name, test := range map[string]struct {
		r    *http.Request
		want Reason
	}{
		"the one": {one, ""}, "the other": {two, ""}, "one without a name": {unnamed, ""},
		"under another name": {swapped, SignatureWrong}, "under an unknown name": {unknown, SignatureWrong},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Receive(test.r, nil, now); reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	s.secrets = []Secret{text("k1:one")}
	if _, err := s.Receive(two, nil, now); reasonOf(err) != SignatureWrong {
		t.Errorf("no such key: %v", err)
	}
}

// Of items that are signed one by one each must hold.
func TestItems(t *testing.T) {
	s, err := formed("items: a.items\nsignatures: [{json: x.sig, encoding: text, algorithm: token}]\nevent: '{json:a.items.*.x.name}'", nil)
	if err != nil {
		t.Fatal(err)
	}
	const good, bad = `{"x":{"sig":"user:password","name":"n"}}`, `{"x":{"sig":"user:passwort","name":"n"}}`
	for name, test := range map[string]struct {
		body string
		want Reason
	}{
		"one":            {`{"a":{"items":[` + good + `]}}`, ""},
		"two":            {`{"a":{"items":[` + good + `,` + good + `]}}`, ""},
		"a bad one":      {`{"a":{"items":[` + good + `,` + bad + `]}}`, SignatureWrong},
		"an unsigned":    {`{"a":{"items":[` + good + `,{}]}}`, SignatureWrong},
		"a number":       {`{"a":{"items":[` + good + `,1]}}`, SignatureWrong},
		"none":           {`{"a":{"items":[]}}`, SignatureMissing},
		"no array":       {`{"a":{"items":` + good + `}}`, SignatureMissing},
		"not there":      {`{}`, SignatureMissing},
		"no JSON":        {`{"a":{"items":[` + good + `]}`, SignatureMissing},
		"outside of one": {`{"x":{"sig":"user:password"},"a":{"items":[{}]}}`, SignatureWrong},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.Receive(newRequest("application/json", nil), []byte(test.body), now)
			if reasonOf(err) != test.want || err == nil && got.Event.Type != "x.n" {
				t.Errorf("error %v, want %q; event %+v", err, test.want, got.Event)
			}
		})
	}
	many, err := json.Marshal(map[string]any{"a": map[string]any{"items": make([]int, maxItems+1)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(newRequest("application/json", nil), many, now); reasonOf(err) != SignatureMissing {
		t.Errorf("too many: %v", err)
	}
}

// A list of signed headers must have in it what could be changed otherwise.
func TestSignedHeaders(t *testing.T) {
	s, err := formed(`
signatures: [{header: X-Sig, encoding: hex, algorithm: hmac-sha256, content: "{method} {path} {headers:X-List} {body}"}]
timestamp: {header: X-T, unit: s, tolerance: 5m}
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	genuine := newRequest("text/plain", nil)
	genuine.Header.Set("X-A", " 1 ")
	if _, err := s.Sign(genuine, nil, now); err != nil {
		t.Fatal(err)
	}
	if got := genuine.Header.Get("X-List"); got != "x-list,x-t" {
		t.Fatalf("signs %q", got)
	}
	genuine.Header.Set("X-List", "x-t, X-A,x-list,host")
	if got := s.request(genuine, nil).signedHeaders("X-List"); got != "host:hooks.example.com;x-a:1;x-list:x-t, X-A,x-list,host;x-t:1795341600" {
		t.Fatalf("signs %q", got)
	}
	if _, err := s.Sign(genuine, nil, now); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*http.Request)
		want   Reason
	}{
		"genuine":           {func(*http.Request) {}, ""},
		"another path":      {func(r *http.Request) { r.URL.Path += "x" }, SignatureWrong},
		"another query":     {func(r *http.Request) { r.URL.RawQuery = "q=2" }, SignatureWrong},
		"another method":    {func(r *http.Request) { r.Method = "PUT" }, SignatureWrong},
		"another host":      {func(r *http.Request) { r.Host = "x" }, SignatureWrong},
		"another value":     {func(r *http.Request) { r.Header.Set("X-A", "2") }, SignatureWrong},
		"another time":      {func(r *http.Request) { r.Header.Set("X-T", "1795341601") }, SignatureWrong},
		"a header twice":    {func(r *http.Request) { r.Header.Add("X-A", "2") }, SignedMissing},
		"a header gone":     {func(r *http.Request) { r.Header.Del("X-A") }, SignedMissing},
		"the time left out": {func(r *http.Request) { r.Header.Set("X-List", "x-a,x-list,host") }, SignedMissing},
		"the list left out": {func(r *http.Request) { r.Header.Set("X-List", "x-a,x-t,host") }, SignedMissing},
		"no list":           {func(r *http.Request) { r.Header.Del("X-List") }, SignedMissing},
		"two lists":         {func(r *http.Request) { r.Header.Add("X-List", "x-a") }, HeaderRepeated},
	} {
		t.Run(name, func(t *testing.T) {
			r := genuine.Clone(t.Context())
			test.change(r)
			if err := s.verify(s.request(r, nil), now); reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
