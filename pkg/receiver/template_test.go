package receiver

import (
	"bytes"
	"crypto/tls"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTemplates(t *testing.T) {
	doc := []byte(`{"a":{"b":[{"c":"deep"}],"n":1.50,"t":true,"null":null,"o":{}},"#":"hash","@this":"at","a*":"star","x|y":"pipe","e":"","ü":"uml","0":"zero"}`)
	q := func() *request {
		r := httptest.NewRequest("PUT", "https://example.com/p?q=1&q=2&e=", nil)
		r.TLS = &tls.ConnectionState{}
		r.Header.Set("X-One", "1")
		return &request{Request: r, body: doc, document: readDocument(doc, []string{"a", "0"}, false), timestamp: "17"}
	}
	for text, want := range map[string]string{
		"":                           "",
		"plain":                      "plain",
		"{body}":                     string(doc),
		"{timestamp}.{header:x-one}": "17.1",
		"{method} {url}":             "PUT https://example.com/p?q=1&q=2&e=",
		"{query:q}":                  "",
		"{query:e}{method}":          "",
		"{header:X-None}":            "",
		"a{header:X-None}":           "",
		"{json:a.b.0.c}":             "deep",
		"{json:a.n}":                 "1.50",
		"{json:a.t}":                 "true",
		"{json:a.null}":              "",
		"{json:a.o}":                 "",
		"{json:a.b}":                 "",
		"{json:a.b.#}":               "",
		"{json:#}":                   "hash",
		"{json:@this}":               "at",
		"{json:a*}":                  "star",
		"{json:x|y}":                 "pipe",
		"{json:e}":                   "",
		"{json:ü}":                   "uml",
		"{json:0}":                   "zero",
		"{form:x}":                   "",
		`{"t":"{timestamp}"}`:        `{"t":"17"}`,
		"{ {0} {A} {":                "{ {0} {A} {",
	} {
		t.Run(text, func(t *testing.T) {
			tmpl, err := parseTemplate(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := tmpl.text(q()); got != want {
				t.Errorf("%q, want %q", got, want)
			}
			if _, missing := tmpl.missing(q()); !missing {
				var fed bytes.Buffer
				if tmpl.feed(&fed, q()); fed.String() != want {
					t.Errorf("fed %q, want %q", fed.String(), want)
				}
			}
		})
	}
}

func TestTemplateErrors(t *testing.T) {
	for text, want := range map[string]string{
		"{boddy}": "{boddy}", "{body": "not closed", "{json}": "a name", "{body:x}": "a name", "{header:}": "a name",
		"{header:a b}": "header", "{json:a..b}": "single dots", "{json:.}": "single dots", "{param:x}": "{param:x}",
	} {
		t.Run(text, func(t *testing.T) {
			if _, err := parseTemplate(text); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
		})
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("{json:a.b}-{header:X}{body}", []byte(`{"a":{"b":1}}`), "text/plain")
	f.Add("{form:payload}{query:q}", []byte("payload=%7B%7D"), "application/x-www-form-urlencoded")
	f.Add("{json:#.a|@this}", []byte(`[{"a":[1]}]`), "application/json")
	f.Fuzz(func(t *testing.T, text string, body []byte, contentType string) {
		tmpl, err := parseTemplate(text)
		if err != nil {
			return
		}
		q := &request{Request: newRequest(contentType, body), body: body, document: readDocument(body, []string{"a"}, false)}
		got := tmpl.text(q)
		if _, missing := tmpl.missing(q); missing {
			if got != "" {
				t.Errorf("%q is absent and yields %q", text, got)
			}
			return
		}
		var fed bytes.Buffer
		if tmpl.feed(&fed, q); fed.String() != got && len(body) > 0 {
			t.Errorf("%q yields %q and feeds %q", text, got, fed.String())
		}
	})
}
