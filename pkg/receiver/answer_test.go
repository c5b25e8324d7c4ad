package receiver

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func refusalOf(err error) *Refusal {
	refusal, _ := errors.AsType[*Refusal](err)
	return refusal
}

const tokenForm = "signatures: [{header: X-S, encoding: text, algorithm: token}]\n"

func TestAnswerHeaders(t *testing.T) {
	s, err := formed(tokenForm+`
handshakes:
  - method: OPTIONS
    answer: {status: 200, headers: {webhook-allowed-origin: "{header:WebHook-Request-Origin}", X-Fixed: a}}
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		origin string
		want   Reason
	}{
		"filled":       {"eventgrid.azure.net", ""},
		"absent":       {"", HandshakeWrong},
		"a new line":   {"a\r\nSet-Cookie: b", HandshakeWrong},
		"not printed":  {"ä", HandshakeWrong},
		"far too long": {string(make([]byte, maxFill+1)), HandshakeWrong},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodOptions, "/", nil)
			r.Header.Set("WebHook-Request-Origin", test.origin)
			got, err := s.Receive(r, nil, now)
			if reasonOf(err) != test.want {
				t.Fatal(err)
			}
			if err == nil && (got.Answer.Status != 200 || got.Answer.Header.Get("Webhook-Allowed-Origin") != test.origin || got.Answer.Header.Get("X-Fixed") != "a") {
				t.Errorf("answered %+v", got.Answer)
			}
		})
	}
}

func TestRefusedAnswer(t *testing.T) {
	s, err := formed(tokenForm+`
refused: {status: 400, content_type: text/xml, headers: {X-Why: "no"}, body: "<fault>{query:q}</fault>"}
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/?q=%3Ca%26%22%3E", nil)
	r.Header.Set("X-S", "wrong")
	_, err = s.Receive(r, nil, now)
	got := refusalOf(err)
	if got == nil || got.Status != 400 || got.Answer == nil || string(got.Answer.Body) != "<fault>&lt;a&amp;&#34;&gt;</fault>" || got.Answer.Header.Get("X-Why") != "no" {
		t.Fatalf("refused with %+v", got)
	}
	w := httptest.NewRecorder()
	Middleware(s, http.NotFoundHandler()).ServeHTTP(w, r)
	if w.Code != 400 || w.Body.String() != string(got.Answer.Body) || w.Header().Get("Content-Type") != "text/xml" {
		t.Errorf("the middleware answered %d %s", w.Code, w.Body)
	}
	if _, err = s.Receive(httptest.NewRequest(http.MethodPost, "/", nil), nil, now); refusalOf(err).Answer != nil || refusalOf(err).Status != 400 {
		t.Errorf("filled from nothing: %v", err)
	}
	s.secrets = []Secret{broken{}}
	if _, err = s.Receive(r, nil, now); refusalOf(err).Status != 503 || refusalOf(err).Answer != nil {
		t.Errorf("the sender is blamed for our secret: %v", err)
	}
	s, err = formed(tokenForm+"refused: {status: 403}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.Receive(r, nil, now); refusalOf(err).Status != 403 || refusalOf(err).Answer != nil {
		t.Errorf("only the status: %v", err)
	}
}
