package capture_test

import (
	"strings"
	"testing"

	"github.com/belay-hooks/belay/internal/capture"
)

func TestParse(t *testing.T) {
	for name, test := range map[string]struct{ text, method, url, header, body, note string }{
		"as sent":      {"POST /a?b=c HTTP/1.1\r\nHost: example.com\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhi", "POST", "https://example.com/a?b=c", "1", "hi", ""},
		"LF":           {"POST /a HTTP/1.1\nHost: example.com\nX-A: 1\n\nh\ni\n", "POST", "https://example.com/a", "1", "h\ni\n", ""},
		"editor":       {"POST /a HTTP/1.1\nHost: example.com\nContent-Length: 2\nX-A: 1\n\nhi\n", "POST", "https://example.com/a", "1", "hi", "left out"},
		"cut off":      {"POST /a HTTP/1.1\nHost: example.com\nContent-Length: 9\nX-A: 1\n\nhi", "POST", "https://example.com/a", "1", "hi", "its end is missing"},
		"too long":     {"POST /a HTTP/1.1\nHost: example.com\nContent-Length: 1\nX-A: 1\n\nhi", "POST", "https://example.com/a", "1", "hi", "changed"},
		"chunked":      {"POST /a HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "POST", "https://example.com/a", "1", "hi", ""},
		"unchunked":    {"POST /a HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\nhi", "POST", "https://example.com/a", "1", "hi", "taken as it is"},
		"curl -v":      {"> POST /a HTTP/2\n> Host: example.com\n> x-a: 1\n> \nhi", "POST", "https://example.com/a", "1", "hi", ""},
		"no version":   {"PUT /a\nHost: example.com\nX-A: 1", "PUT", "https://example.com/a", "1", "", ""},
		"behind proxy": {"POST /a HTTP/1.0\nHost: example.com\nX-Forwarded-Proto: http\nX-A: 1\n\n", "POST", "http://example.com/a", "1", "", ""},
		"absolute":     {"POST http://example.com/a HTTP/1.1\nHost: example.com\nX-A: 1\n\n", "POST", "http://example.com/a", "1", "", ""},
		"HAR": {
			`{"log":{"entries":[{"request":{"method":"GET","url":"https://example.com"}},{"request":{"method":"POST","url":"https://example.com/a","headers":[{"name":"x-a","value":"1"},{"name":":authority","value":"x"}],"postData":{"text":"hi"}}}]}}`,
			"POST", "https://example.com/a", "1", "hi", "number 2",
		},
		"HAR, base64": {
			`{"log":{"entries":[{"request":{"method":"POST","url":"https://example.com/a","headers":[{"name":"x-a","value":"1"}],"postData":{"text":"aGk=","encoding":"base64"}}}]}}`,
			"POST", "https://example.com/a", "1", "hi", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := capture.Parse([]byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			url := c.HTTP.URL.Scheme + "://" + c.HTTP.Host + c.HTTP.URL.RequestURI()
			if c.HTTP.Method != test.method || url != test.url || c.HTTP.Header.Get("X-A") != test.header || string(c.Body) != test.body {
				t.Errorf("%s %s %v %q", c.HTTP.Method, url, c.HTTP.Header, c.Body)
			}
			if notes := strings.Join(c.Notes, "; "); (test.note == "") != (notes == "") || !strings.Contains(notes, test.note) {
				t.Errorf("notes %q, want %q", notes, test.note)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"empty":      {"", "it begins with a line such as"},
		"a body":     {"a=b", "it begins with a line such as"},
		"JSON":       {`{"id":1}`, "there is no request in it"},
		"no JSON":    {`{`, "is none"},
		"no base64":  {`{"log":{"entries":[{"request":{"postData":{"text":"%","encoding":"base64"}}}]}}`, "not base64"},
		"bad URL":    {`{"log":{"entries":[{"request":{"method":"POST","url":"%"}}]}}`, "cannot be read"},
		"bad header": {"POST /a HTTP/1.1\nno header\n\n", "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := capture.Parse([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi")
	f.Add("> POST /a HTTP/2\n> a: b\n>\n{}")
	f.Add(`{"log":{"entries":[{"request":{"method":"POST","url":"/","headers":[{"name":"a","value":"b"}],"postData":{"text":"x","encoding":"base64"}}}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := capture.Parse([]byte(text))
		if err != nil {
			return
		}
		if c.HTTP.URL.Scheme == "" || len(c.Body) > len(text) {
			t.Errorf("%+v, %d bytes", c.HTTP, len(c.Body))
		}
	})
}
