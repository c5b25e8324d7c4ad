package receiver

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A vector is a request of testdata/vectors, and what becomes of it.
type vector struct {
	Origin, Receiver, Secret, Method, URL, Body string
	Params, Header                              map[string]string
	Secrets                                     []string // instead of one
	Now                                         int64
	Refused                                     bool
	Answer                                      string // of a handshake
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "vectors", "*.json"))
	if err != nil {
		tb.Fatal(err)
	}
	var all []vector
	for _, file := range files {
		var some []vector
		if err := json.Unmarshal(payload(tb, "vectors", filepath.Base(file)), &some); err != nil {
			tb.Fatal(file, err)
		}
		for _, v := range some {
			v.Receiver = strings.TrimSuffix(filepath.Base(file), ".json")
			all = append(all, v)
		}
	}
	return all
}

func (v vector) request() *http.Request {
	if v.URL == "" {
		v.URL = "https://hooks.example.com/webhooks/x"
	}
	if v.Method == "" {
		v.Method = http.MethodPost
	}
	r := httptest.NewRequest(v.Method, v.URL, nil)
	for name, value := range v.Header {
		r.Header.Set(name, value)
	}
	if r.Header.Get("Content-Type") == "" {
		// Vectors are about signatures, and mostly leave it out.
		f, _ := Lookup(v.Receiver)
		if len(f.ContentTypes) > 0 && json.Valid([]byte(v.Body)) == isJSON(f.ContentTypes[0]) {
			r.Header.Set("Content-Type", f.ContentTypes[0])
		} else {
			r.Header.Set("Content-Type", "text/plain")
		}
	}
	return r
}

func (v vector) source(tb testing.TB) *Source {
	tb.Helper()
	var secrets []Secret
	for _, s := range append(v.Secrets, v.Secret) {
		if s != "" {
			secrets = append(secrets, text(s))
		}
	}
	return newSource(tb, SourceConfig{Receiver: v.Receiver, Params: v.Params, Secrets: secrets})
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Receiver+"/"+v.Origin, func(t *testing.T) {
			s, at := v.source(t), time.Unix(v.Now, 0)
			if v.Now == 0 && s.clock != nil { // any time is as good
				q := s.request(v.request(), []byte(v.Body))
				s.findDocument(q)
				if _, sent, err := s.clock.read(q); err == nil {
					at = sent
				}
			}
			got, err := s.Receive(v.request(), []byte(v.Body), at)
			if v.Refused {
				if reason := reasonOf(err); reason != SignatureWrong && reason != ClaimWrong && reason != TimestampStale {
					t.Errorf("a forged request: %v", err)
				}
				return
			}
			if err != nil && !(reasonOf(err) == Unreadable && !json.Valid([]byte(v.Body))) {
				t.Fatalf("a genuine request: %v", err)
			}
			if v.Answer != "" && (got.Event != nil || string(got.Answer.Body) != v.Answer) {
				t.Errorf("answered %q, want %q", got.Answer.Body, v.Answer)
			}
			sig := s.signatures[0]
			if v.Method == http.MethodGet || !signsBody(sig) {
				return
			}
			changed := v.Body[:len(v.Body)/2] + "!" + v.Body[len(v.Body)/2:]
			if err := s.verify(s.request(v.request(), []byte(changed)), at); err == nil {
				t.Error("a changed body is accepted")
			}
		})
	}
}

// signsBody reports whether the whole body is signed.
func signsBody(s *signature) bool {
	c := choice{s.content}
	if s.token != nil {
		for _, h := range s.token.hashes {
			c = append(c, h.content)
		}
	}
	return c.uses(body) || c.uses(bodyCRC32) || c.uses(bodySHA256) || c.uses(bodyBase64) || c.uses(formSorted) || c.uses(documentText)
}
