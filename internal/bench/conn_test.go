package bench

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

func TestReadAnswer(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       answer
		fails      bool
	}{
		{"accepted", "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", answer{status: 202}, false},
		{"with a body", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nhello", answer{status: 503}, false},
		{"duplicate", "HTTP/1.1 202 Accepted\r\nBelay-Duplicate: true\r\nContent-Length: 0\r\n\r\n", answer{status: 202, duplicate: true}, false},
		{"the last one", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", answer{status: 400, closes: true}, false},
		{"empty", "", answer{}, true},
		{"cut off", "HTTP/1.1 202 Accepted\r\nContent-Le", answer{status: 202}, true},
		{"body cut off", "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nhel", answer{status: 202}, true},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", answer{status: 200}, true},
		{"another protocol", "SSH-2.0-Go\r\n", answer{}, true},
		{"a length below zero", "HTTP/1.1 202 Accepted\r\nContent-Length: -1\r\n\r\n", answer{status: 202}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := readAnswer(bufio.NewReader(strings.NewReader(test.text)))
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// What readAnswer and the standard library both take has one status.
func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nBelay-Duplicate: true\r\n\r\nok"))
	f.Add([]byte("HTTP/1.1 503 x\nConnection: close\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := readAnswer(bufio.NewReader(bytes.NewReader(text)))
		if err != nil {
			return
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), nil)
		if err != nil {
			return // it is stricter about what Go's server never sends
		}
		if resp.StatusCode != got.status {
			t.Errorf("status %d, want %d", got.status, resp.StatusCode)
		}
	})
}
