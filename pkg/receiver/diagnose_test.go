package receiver

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// diagnosed is the diagnosis of a request that must be refused.
func diagnosed(tb testing.TB, s *Source, r *http.Request, body []byte, at time.Time, others ...*Source) Diagnosis {
	tb.Helper()
	err := s.verify(s.request(r, body), at)
	refusal, ok := err.(*Refusal) //nolint:errorlint // it must be one
	if !ok {
		tb.Fatalf("not refused, but %v", err)
	}
	d := s.Diagnose(Case{Request: r, Body: body, Now: at, Refusal: refusal, Others: others})
	if d.Cause == "" || d.Detail == "" || d.Advice == "" {
		tb.Errorf("it is %+v", d)
	}
	return d
}

// expect diagnoses a request that was spoilt, and sees that nothing is told that
// must not be.
func expect(tb testing.TB, s *Source, r *http.Request, body []byte, at time.Time, want ...Cause) {
	tb.Helper()
	d := diagnosed(tb, s, r, body, at)
	if !slices.Contains(want, d.Cause) {
		tb.Errorf("cause %s (%s), want %s", d.Cause, d.Detail, want)
	}
	tellsNothing(tb, s, r, d)
}

// tellsNothing sees that no part of a secret or a signature is told.
func tellsNothing(tb testing.TB, s *Source, r *http.Request, d Diagnosis) {
	tb.Helper()
	text := d.Detail + d.Advice
	for _, secret := range s.secrets {
		if v, err := secret.Value(); err == nil && len(v) > 8 && strings.Contains(text, strings.TrimSpace(v)) {
			tb.Errorf("it tells the secret: %s", text)
		}
	}
	for _, sig := range s.signatures {
		for item := range sig.items(s.request(r, nil)) {
			if len(item) > 8 && strings.Contains(text, item) {
				tb.Errorf("it tells a signature: %s", text)
			}
		}
	}
}

func TestDiagnoseBodies(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "github"})
	const original = `{"b":"\u00e9 <a> \/","a":[1.0,{"c":null}],"d":{}}`
	for name, test := range map[string]struct{ signed, came, want string }{
		"compact":              {`{"b":1,"a":[true,"x"]}`, "{\n \"b\" : 1,\n \"a\": [ true, \"x\" ]\n}", "as compact JSON"},
		"sorted":               {`{"a":[true,"x"],"b":1}`, `{"b":1,"a":[true,"x"]}`, "keys in order"},
		"Python":               {`{"b": 1, "a": [true, "x", {}]}`, `{"b":1,"a":[true,"x",{}]}`, "as of Python"},
		"Python's ASCII":       {`{"b": "\u00e9\ud83d\ude00"}`, `{"b":"é😀"}`, "in ASCII"},
		"indented":             {"{\n  \"b\": [\n    1\n  ],\n  \"c\": {}\n}\n", `{"b":[1],"c":{}}`, "indented by 2, with a newline at its end"},
		"tabs":                 {"{\n\t\"b\": [\n\t\t1\n\t]\n}", `{"b":[1]}`, "by tabs"},
		"Go":                   {`{"b":"\u003ca\u003e"}`, `{"b":"<a>"}`, "with <, > and & escaped"},
		"PHP":                  {`{"b":"a\/b"}`, `{"b":"a/b"}`, "with / escaped"},
		"PHP's ASCII":          {`{"b":"a\/\u00e9"}`, `{"b":"a/é"}`, "in ASCII with / escaped"},
		"JavaScript's numbers": {`{"b":1,"c":100}`, `{"b":1.0,"c":1e2}`, "as compact JSON"},
		"newline added":        {original, original + "\n", "without the newline"},
		"newline lost":         {original + "\n", original, "with a newline"},
		"CRLF":                 {"{\n}", "{\r\n}", "LF for CRLF"},
		"LF":                   {"a\r\nb", "a\nb", "CRLF for LF"},
		"byte order mark":      {original, "\ufeff" + original, "without the byte order mark"},
		"Latin-1 to UTF-8":     {"\xe9", "é", "in Latin-1"},
		"UTF-8 to Latin-1":     {"é", "\xe9", "in UTF-8"},
		"base64":               {original, base64.StdEncoding.EncodeToString([]byte(original)), "base64"},
		"in a string":          {`{"a":1}`, `"{\"a\":1}"`, "JSON string"},
		"lost":                 {"", original, "an empty body"},
		"a form made JSON":     {"payload=" + url.QueryEscape(`{"a":1}`), `{"a":1}`, "payload"},
	} {
		t.Run(name, func(t *testing.T) {
			r := signed(t, s, "application/json", []byte(test.signed), nil)
			d := diagnosed(t, s, r, []byte(test.came), now)
			if d.Cause != CauseBody || !strings.Contains(d.Detail, test.want) {
				t.Errorf("%+v, want %s", d, test.want)
			}
		})
	}
}

func TestDiagnoseForms(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "github"})
	for name, test := range map[string]struct{ signed, came, want string }{
		"sorted":        {"a=1&b=2", "b=2&a=1", "in the order of their names"},
		"plus":          {"b=x+y&a=", "b=x%20y&a=", "with + for %20"},
		"blank":         {"b=x%20y&a=", "b=x+y&a=", "with %20 for +"},
		"small letters": {"b=%2f&a=1", "b=%2F&a=1", "small letters"},
		"decoded":       {"b=/&a=1", "b=%2F&a=1", "decoded"},
		"payload alone": {`{"a":1}`, "payload=%7B%22a%22%3A1%7D", "payload alone"},
	} {
		t.Run(name, func(t *testing.T) {
			r := signed(t, s, formEncoded, []byte(test.signed), nil)
			d := diagnosed(t, s, r, []byte(test.came), now)
			if d.Cause != CauseBody || !strings.Contains(d.Detail, test.want) {
				t.Errorf("%+v, want %s", d, test.want)
			}
		})
	}
}

func TestDiagnoseSecrets(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte("twenty-four bytes, a key"))
	for name, test := range map[string]struct {
		receiver     string
		theirs, ours text
		want         Cause
		detail       string
	}{
		"newline":               {"github", "secret", "secret\n", CauseSecretSpace, "white space"},
		"newline of theirs":     {"github", "secret\n", "secret", CauseSecretSpace, "with a newline"},
		"quotes":                {"github", "secret", `"secret"`, CauseSecretSpace, "quotes"},
		"escaped":               {"github", "a+b", "a%2Bb", CauseSecretSpace, "decoded"},
		"prefix stripped":       {"stripe", "whsec_abc", "abc", CauseSecretForm, "after whsec_"},
		"base64 not decoded":    {"github", text(decodedText(t, key)), text(key), CauseSecretForm, "decoded from base64"},
		"hex not decoded":       {"github", "\x00\x01key", "00016b6579", CauseSecretForm, "decoded from hex"},
		"whsec_ taken as text":  {"stripe", text(decodedText(t, key)), text("whsec_" + key), CauseSecretForm, "without whsec_, decoded from base64"},
		"another one":           {"stripe", "whsec_abc", "whsec_abd", CauseOtherSecret, "livemode: false"},
		"other than it decodes": {"svix", text(key), text("whsec_" + base64.StdEncoding.EncodeToString([]byte(decodedText(t, key)+"!"))), CauseOtherSecret, ""},
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(`{"livemode":false}`)
			r := signed(t, newSource(t, SourceConfig{Receiver: test.receiver, Secrets: []Secret{test.theirs}}), "application/json", body, nil)
			s := newSource(t, SourceConfig{Receiver: test.receiver, Secrets: []Secret{text("whsec_QUFBQUFBQUFBQUFBQUFB"), test.ours}})
			d := diagnosed(t, s, r, body, now)
			if d.Cause != test.want || !strings.Contains(d.Detail, test.detail) {
				t.Errorf("%+v, want %s, %s", d, test.want, test.detail)
			}
			tellsNothing(t, s, r, d)
		})
	}
}

func decodedText(tb testing.TB, s string) string {
	tb.Helper()
	out, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return string(out)
}

func TestDiagnoseTheRest(t *testing.T) {
	all := cases(t)
	sha1 := newSource(t, SourceConfig{Receiver: "generic", Params: map[string]string{"header": "X-Hub-Signature-256", "prefix": "sha1=", "hash": "sha1"}, Secrets: []Secret{secretOf("github")}})
	for name, test := range map[string]struct {
		source *Source
		sign   *Source // nil: the same
		change func(h http.Header)
		want   Cause
		detail string
	}{
		"only the old header":   {all["github"], nil, func(h http.Header) { h.Del("X-Hub-Signature-256"); h.Set("X-Hub-Signature", "sha1=00") }, CauseOtherHeader, "X-Hub-Signature is"},
		"SHA-1 for SHA-256":     {all["github"], sha1, func(http.Header) {}, CauseOtherAlgorithm, "hmac-sha1"},
		"length of SHA-1":       {all["github"], nil, func(h http.Header) { h.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("ab", 20)) }, CauseSignatureMalformed, "SHA-1"},
		"another provider":      {all["github"], all["stripe"], func(http.Header) {}, CauseOtherReceiver, "Stripe"},
		"repeated":              {all["github"], nil, func(h http.Header) { h.Add("X-Hub-Signature-256", "x") }, CauseRepeated, "2 times"},
		"no time":               {all["standard-webhooks"], nil, func(h http.Header) { h.Del("Webhook-Timestamp") }, CausePartMissing, "no timestamp"},
		"no id":                 {all["standard-webhooks"], nil, func(h http.Header) { h.Del("Webhook-Id") }, CausePartMissing, "Webhook-Id"},
		"milliseconds":          {all["generic"], nil, func(h http.Header) { h.Set("X-Time", "1795341600000") }, CauseTimestampUnit, "milliseconds"},
		"another provider's id": {all["standard-webhooks"], all["github"], func(http.Header) {}, CauseOtherHeader, "X-Hub-Signature-256"},
	} {
		t.Run(name, func(t *testing.T) {
			sign := test.sign
			if sign == nil {
				sign = test.source
			}
			r := signed(t, sign, "application/json", someBody, nil)
			test.change(r.Header)
			d := diagnosed(t, test.source, r, someBody, now)
			if d.Cause != test.want || !strings.Contains(d.Detail, test.detail) {
				t.Errorf("%+v, want %s, %s", d, test.want, test.detail)
			}
		})
	}
}

// A time in milliseconds where seconds are wanted is far in the future.
func TestDiagnoseUnit(t *testing.T) {
	params := func(unit string) map[string]string {
		return map[string]string{"timestamp": "X-Time", "unit": unit, "content": "{timestamp}{body}"}
	}
	ms := newSource(t, SourceConfig{Receiver: "generic", Params: params("ms")})
	s := newSource(t, SourceConfig{Receiver: "generic", Params: params("s")})
	expect(t, s, signed(t, ms, "application/json", someBody, nil), someBody, now, CauseTimestampUnit)
	expect(t, ms, signed(t, s, "application/json", someBody, nil), someBody, now, CauseTimestampUnit)
}

func TestDiagnoseIsBounded(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "stripe"})
	deep := []byte(strings.Repeat(`{"a":[1,`, 5000) + "1" + strings.Repeat("]}", 5000))
	wide := []byte("[" + strings.Repeat(`{"a":1},`, 1<<16) + "1]")
	for name, body := range map[string][]byte{"deep": deep, "wide": wide, "form": bytes.Repeat([]byte("a=b&"), 1<<17), "bomb": packed(t, make([]byte, 32<<20))} {
		t.Run(name, func(t *testing.T) {
			r := newRequest("application/json", body)
			r.Header.Set("Stripe-Signature", "t=1795341600"+strings.Repeat(",v1="+strings.Repeat("ab", 32), maxCandidates))
			began := time.Now()
			d := s.Diagnose(Case{Request: r, Body: body, Now: now, Refusal: &Refusal{Reason: SignatureWrong}, Work: 1 << 20})
			if d.Cause != CauseOtherSecret {
				t.Errorf("%+v", d)
			}
			if took := time.Since(began); took > 2*time.Second { // it is milliseconds
				t.Errorf("it took %s", took)
			}
		})
	}
}

// Whatever comes, the diagnosis ends, and tells nothing.
func FuzzDiagnose(f *testing.F) {
	f.Add("sha256=00", "X-Hub-Signature", "a", `{"a":[1.0,"é"]}`, "/a?b=c")
	f.Add("t=1795341600,v1=00", "X-Forwarded-Host", "example.com:1", "a=%2F&b=+", "/%20/")
	all := cases(f)
	all["twilio"] = newSource(f, SourceConfig{Receiver: "twilio"})
	all["gitlab"] = newSource(f, SourceConfig{Receiver: "gitlab"})
	f.Fuzz(func(t *testing.T, signature, name, value, body, uri string) {
		for _, s := range all {
			r := newRequest("application/json", []byte(body))
			if u, err := url.Parse(uri); err == nil {
				r.URL.Path, r.URL.RawQuery = u.Path, u.RawQuery
			}
			r.Header[http.CanonicalHeaderKey(name)] = []string{value}
			r.Header.Set(s.signatures[0].at.arg, signature)
			_, err := s.Receive(r, []byte(body), now)
			refusal, ok := err.(*Refusal) //nolint:errorlint // it must be one
			if !ok {
				t.Fatalf("%s: %v", s.Name(), err)
			}
			d := s.Diagnose(Case{Request: r, Body: []byte(body), Now: now, Refusal: refusal, Work: 1 << 20})
			if d.Cause == "" || d.Detail == "" {
				t.Errorf("%s: %+v", s.Name(), d)
			}
			tellsNothing(t, s, newRequest("", nil), d)
		}
	})
}

func BenchmarkDiagnose(b *testing.B) {
	s := newSource(b, SourceConfig{Receiver: "github"})
	body := payload(b, "github", "push.json")
	r := signed(b, newSource(b, SourceConfig{Receiver: "github", Secrets: []Secret{text("other")}}), "application/json", body, nil)
	_, err := s.Receive(r, body, now)
	refusal, ok := err.(*Refusal) //nolint:errorlint // it must be one
	if !ok {
		b.Fatal(err)
	}
	b.Run("refuse", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Receive(r, body, now); err == nil {
				b.Fatal("accepted")
			}
		}
	})
	b.Run("diagnose 120 KiB in an ingress", func(b *testing.B) {
		large := append(bytes.Repeat([]byte(`[{"a":1.0},`), 11<<10), '1')
		large = append(large, bytes.Repeat([]byte("]"), 11<<10)...)
		wide := append(append([]byte("["), bytes.Repeat([]byte(`{"a":1.0},`), 12<<10)...), "1]"...)
		for b.Loop() {
			for _, body := range [][]byte{large, wide} {
				s.Diagnose(Case{Request: r, Body: body, Now: now, Refusal: refusal, Work: 2 << 20})
			}
		}
	})
	b.Run("diagnose", func(b *testing.B) {
		for b.Loop() {
			if d := s.Diagnose(Case{Request: r, Body: body, Now: now, Refusal: refusal}); d.Cause != CauseOtherSecret {
				b.Fatal(d)
			}
		}
	})
}

// Nothing that comes is the end of a diagnosis, whatever the receiver's scheme.
func TestDiagnoseRubbish(t *testing.T) {
	for _, name := range Names() {
		r, _ := Lookup(name)
		t.Run(name, func(t *testing.T) {
			s := newSource(t, SourceConfig{Receiver: name, Secrets: []Secret{secretFor(t, r)}})
			for _, reason := range []Reason{
				SignatureMissing, SignatureWrong, SignedMissing, TimestampMissing, TimestampUnreadable, TimestampStale, TimestampFuture,
				HeaderRepeated, HandshakeWrong, SecretUnavailable, Unreadable, "one of another day",
			} {
				q := newRequest("application/json", someBody)
				q.Header.Set("Authorization", "Bearer a.b.c")
				for _, sig := range s.signatures {
					if sig.at.kind == header && sig.at.arg != "" {
						q.Header.Set(sig.at.arg, sig.prefix+"a.b.c")
					}
				}
				if d := s.Diagnose(Case{Request: q, Body: someBody, Now: now, Refusal: &Refusal{Reason: reason}}); d.Cause == "" {
					t.Errorf("%s: nothing", reason)
				}
			}
			s.Explain(newRequest("text/plain", nil), nil, now)
			s.Explain(newRequest("application/json", someBody), someBody, now)
		})
	}
}
