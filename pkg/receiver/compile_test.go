package receiver

import (
	"errors"
	"strings"
	"testing"
)

// formed makes a source of the text of a form.
func formed(form string, params map[string]string) (*Source, error) {
	r, err := parse("x", []byte("name: X\ndocs: https://example.com\n"+form))
	if err != nil {
		return nil, err
	}
	s := &Source{receiver: r, secrets: []Secret{text("user:password")}}
	return s, s.compile(SourceConfig{Params: params})
}

func TestFormsThatDoNotFit(t *testing.T) {
	const good = "signatures: [{header: X-S, encoding: hex, algorithm: hmac-sha256, content: '{body}'}]\n"
	for name, test := range map[string]struct{ form, field, want string }{
		"two places":                  {"signatures: [{header: X-S, query: s, encoding: hex, algorithm: hmac-sha256, content: '{body}'}]", "signatures[0]", "one of header"},
		"no place":                    {"signatures: [{encoding: hex, algorithm: hmac-sha256, content: '{body}'}]", "signatures[0]", "one of header"},
		"a path with a hole":          {"signatures: [{json: a..b, encoding: hex, algorithm: hmac-sha256, content: '{body}'}]", "signatures[0].json", "single dots"},
		"an unknown algorithm":        {"signatures: [{header: X-S, encoding: hex, algorithm: md5, content: '{body}'}]", "signatures[0].algorithm", "hmac-md5"},
		"a token that signs":          {"signatures: [{header: X-S, encoding: text, algorithm: token, content: '{body}'}]", "signatures[0].content", "signs nothing"},
		"a signature of nothing":      {"signatures: [{header: X-S, encoding: hex, algorithm: ed25519}]", "signatures[0].content", "what is signed"},
		"a signature of itself":       {"signatures: [{header: X-S, encoding: hex, algorithm: hmac-sha256, content: '{signature}'}]", "signatures[0].content", "for answers"},
		"a time beside a token":       {"signatures: [{header: X-S, encoding: text, algorithm: token}]\ntimestamp: {header: X-T, unit: s}", "signatures[0].content", "{timestamp}"},
		"a time in a free query":      {good + "timestamp: {query: t, unit: s}", "signatures[0].content", "{timestamp}"},
		"a document of itself":        {good + "document: '{document}'", "document", "without {document}"},
		"a handshake by PUT":          {good + "handshakes: [{method: PUT, when: {'{query:a}': '*'}}]", "handshakes[0].method", "GET, HEAD"},
		"a handshake that is all":     {good + "handshakes: [{answer: {status: 200}}]", "handshakes[0].when", "condition"},
		"nothing is stored":           {good + "unstored: [{answer: {status: 200}}]", "unstored[0].when", "condition"},
		"{signature} without a proof": {good + "answer: {body: '{signature}'}", "answer.body", "proof"},
		"a proof for nobody":          {good + "answer: {body: x, proof: {content: '{query:a}', algorithm: hmac-sha256, encoding: hex}}", "answer.body", "proof"},
		"a proof by a token":          {good + "answer: {body: '{signature}', proof: {content: '{query:a}', algorithm: token, encoding: hex}}", "answer.proof.algorithm", "HMAC"},
		"a header that is none":       {good + "answer: {headers: {'X Y': a}}", "answer.headers.X Y", "name of a header"},
		"a refusal that accepts":      {good + "refused: {status: 200}", "refused.status", "400"},
		"a refusal that proves":       {good + "refused: {body: '{signature}', proof: {content: '{query:a}', algorithm: hmac-sha256, encoding: hex}}", "refused.proof", "stranger"},
		"a proof in no encoding":      {good + "answer: {body: '{signature}', proof: {content: '{query:a}', algorithm: hmac-sha256}}", "answer.proof.encoding", "base64"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := formed(test.form, nil)
			wrong, ok := errors.AsType[*FieldError](err)
			if !ok || wrong.Field != test.field || !strings.Contains(wrong.Want, test.want) {
				t.Errorf("error %v, want one of %s with %q", err, test.field, test.want)
			}
		})
	}
}

func TestPlaces(t *testing.T) {
	for name, test := range map[string]struct{ form, query, contentType, body string }{
		"a token in the query":   {"signatures: [{query: code, encoding: text, algorithm: token}]", "&code=user:password", "text/plain", "x"},
		"a token in a form":      {"signatures: [{form: token, encoding: text, algorithm: token}]", "", "application/x-www-form-urlencoded", "a=1&token=user%3Apassword"},
		"a token in JSON":        {"signatures: [{json: a.token, encoding: text, algorithm: token}]", "", "application/json", `{"a":{"token":"user:password"}}`},
		"a token in base64":      {"signatures: [{query: code, prefix: 'Basic ', encoding: base64, algorithm: token}]", "&code=Basic+dXNlcjpwYXNzd29yZA==", "text/plain", "x"},
		"a time in JSON, signed": {"signatures: [{query: s, encoding: hex, algorithm: hmac-md5, content: '{body}'}]\ntimestamp: {json: t, unit: s, tolerance: 5m}", "&s=", "application/json", `{"t":1795341600}`},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := formed(test.form, nil)
			if err != nil {
				t.Fatal(err)
			}
			r := newRequest(test.contentType, nil)
			r.URL.RawQuery += test.query
			if s.signatures[0].at.kind == queryParam {
				if _, err := s.Sign(r, []byte(test.body), now); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.verify(s.request(r, []byte(test.body)), now); err != nil {
				t.Fatal(err)
			}
			for _, secrets := range [][]Secret{{text("user:passwort")}, {text("user:passwor")}, {text("user:password ")}} {
				s.secrets = secrets
				if err := s.verify(s.request(r, []byte(test.body)), now); reasonOf(err) != SignatureWrong {
					t.Errorf("with another secret: %v", err)
				}
			}
		})
	}
}

// Of the two kinds of key only the private one signs, and a key of another kind
// is none.
func TestKeysOfPairs(t *testing.T) {
	for _, name := range []string{"discord-interactions", "sendgrid", "wise"} {
		t.Run(name, func(t *testing.T) {
			for _, secret := range []string{"", "00", "AAAA", "zz", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"} {
				if _, err := NewSource(SourceConfig{Receiver: name, Secrets: []Secret{text(secret)}}); err == nil {
					t.Errorf("%q is a key", secret)
				}
			}
		})
	}
	for _, v := range vectors(t) {
		if v.Receiver == "sendgrid" || v.Receiver == "wise" || v.Receiver == "discord-interactions" {
			if _, err := v.source(t).Sign(v.request(), []byte(v.Body), now); !errors.Is(err, errPublicKey) {
				t.Errorf("%s: signed with a public key: %v", v.Receiver, err)
			}
		}
	}
}
