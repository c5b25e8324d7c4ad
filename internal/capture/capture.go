// Package capture reads HTTP requests that somebody has kept: as they went over
// the wire, as curl -v prints them, or in a HAR file of a browser or a proxy.
package capture

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
)

// Request is a captured request.
type Request struct {
	// HTTP is the request without its body. The scheme of its URL is that of
	// X-Forwarded-Proto, or https.
	HTTP *http.Request
	// Body is the body as it stands there.
	Body []byte
	// Notes say what is odd about the capture, and what was made of it.
	Notes []string
}

// Parse reads a request. Line ends may be LF alone, and the lines of the head may
// begin with "> " as those of curl -v do. The body is all that follows the empty
// line: where Content-Length says less, and the rest is the newline that an
// editor added, that is taken away.
func Parse(text []byte) (*Request, error) {
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		return parseHAR(trimmed)
	}
	head, body := split(bytes.TrimLeft(text, "\r\n"))
	r, err := readHead(head)
	if err != nil {
		return nil, err
	}
	c := &Request{HTTP: r, Body: body}
	c.unchunk()
	c.trim()
	c.addScheme()
	return c, nil
}

// New is a request of parts that are given one by one.
func New(method, url string, body []byte) (*Request, error) {
	r, err := http.NewRequest(method, url, http.NoBody) //nolint:noctx // it is never sent
	if err != nil {
		return nil, err
	}
	c := &Request{HTTP: r, Body: body}
	c.addScheme()
	return c, nil
}

// split takes the head and the body apart at the first empty line.
func split(text []byte) (head, body []byte) {
	rest := text
	for len(rest) > 0 {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		if len(bytes.TrimRight(bytes.TrimPrefix(line, []byte(">")), " \r")) == 0 {
			return text[:len(text)-len(rest)], after
		}
		rest = after
	}
	return text, nil
}

// readHead reads the request line and the headers.
func readHead(head []byte) (*http.Request, error) {
	var clean bytes.Buffer
	for i, line := range strings.Split(strings.TrimRight(string(head), "\r\n"), "\n") {
		line = strings.TrimRight(strings.TrimPrefix(line, "> "), "\r")
		if i == 0 {
			// HTTP/2 has no version line; those who print one write HTTP/2.
			line = strings.TrimSuffix(strings.TrimSuffix(line, " HTTP/2"), " HTTP/3")
			if strings.Count(line, " ") == 1 {
				line += " HTTP/1.1"
			}
		}
		name, _, _ := strings.Cut(line, ":")
		if i > 0 && (strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding")) {
			// They are about a body that is not here.
			line = "Belay-Captured-" + line
		}
		clean.WriteString(line + "\r\n")
	}
	clean.WriteString("\r\n")
	r, err := http.ReadRequest(bufio.NewReader(&clean))
	if err != nil {
		return nil, fmt.Errorf("the request cannot be read: %w; it begins with a line such as POST /webhooks/github HTTP/1.1, then headers, an empty line and the body", err)
	}
	return r, nil
}

const (
	capturedLength = "Belay-Captured-Content-Length"
	capturedCoding = "Belay-Captured-Transfer-Encoding"
)

// unchunk joins the chunks of a body that was captured as it was sent.
func (c *Request) unchunk() {
	coding := c.HTTP.Header.Get(capturedCoding)
	c.HTTP.Header.Del(capturedCoding)
	if !strings.EqualFold(coding, "chunked") {
		return
	}
	joined, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(c.Body)))
	if err != nil {
		c.note("Transfer-Encoding says chunked, and the body is not: it is taken as it is")
		return
	}
	c.Body = joined
}

// trim takes away what an editor added after the body, and tells what is missing.
func (c *Request) trim() {
	text := c.HTTP.Header.Get(capturedLength)
	c.HTTP.Header.Del(capturedLength)
	length, err := strconv.Atoi(text)
	switch {
	case err != nil || length < 0 || length == len(c.Body):
		return
	case length > len(c.Body):
		c.note("Content-Length says %d bytes, and the capture has %d: its end is missing, or its line ends were changed", length, len(c.Body))
	case len(bytes.Trim(c.Body[length:], "\r\n")) == 0:
		c.note("the newline after the %d bytes that Content-Length says was left out", length)
		c.Body = c.Body[:length]
	default:
		c.note("Content-Length says %d bytes, and the capture has %d: something changed the body, or its line ends", length, len(c.Body))
	}
}

// addScheme says how the request came, which is not in it.
func (c *Request) addScheme() {
	if c.HTTP.URL.Scheme == "" {
		c.HTTP.URL.Scheme = "https"
		if strings.EqualFold(c.HTTP.Header.Get("X-Forwarded-Proto"), "http") {
			c.HTTP.URL.Scheme = "http"
		}
	}
}

func (c *Request) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

// har is what is read of a HAR file (http://www.softwareishard.com/blog/har-12-spec/).
type har struct {
	Log struct {
		Entries []struct {
			Request struct {
				Method, URL string
				Headers     []struct{ Name, Value string }
				PostData    struct{ Text, Encoding string }
			}
		}
	}
}

// parseHAR takes the first request of a HAR file that has a body, or the first.
func parseHAR(text []byte) (*Request, error) {
	var file har
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("it begins as a HAR file, and is none: %w", err)
	}
	entries := file.Log.Entries
	if len(entries) == 0 {
		return nil, errors.New("there is no request in it: want one as text, or a HAR file (log.entries)")
	}
	at := 0
	for i := range entries {
		if entries[i].Request.PostData.Text != "" {
			at = i
			break
		}
	}
	entry := entries[at].Request
	body := []byte(entry.PostData.Text)
	if entry.PostData.Encoding == "base64" {
		var err error
		if body, err = base64.StdEncoding.DecodeString(entry.PostData.Text); err != nil {
			return nil, fmt.Errorf("the body in the HAR file is not base64: %w", err)
		}
	}
	c, err := New(entry.Method, entry.URL, body)
	if err != nil {
		return nil, fmt.Errorf("the request in the HAR file cannot be read: %w", err)
	}
	for _, h := range entry.Headers {
		if name := http.CanonicalHeaderKey(h.Name); name != "Host" && !strings.HasPrefix(name, ":") {
			c.HTTP.Header.Add(name, h.Value)
		} else if name == "Host" {
			c.HTTP.Host = h.Value
		}
	}
	if len(entries) > 1 {
		c.note("the HAR file has %d requests: this is number %d", len(entries), at+1)
	}
	return c, nil
}
