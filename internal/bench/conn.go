package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// A conn is a kept connection to the server. It reads no more of an answer than
// the load needs: the general client would cost as much as what is measured.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func dial(ctx context.Context, addr string) (*conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{c, bufio.NewReaderSize(c, 4<<10)}, nil
}

// An answer is what the load needs to know of it.
type answer struct {
	status    int
	duplicate bool // Belay-Duplicate: true
	closes    bool // the server closes the connection
}

// post sends a request and reads its answer, within a time.
func (c *conn) post(request []byte, within time.Duration) (answer, error) {
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return answer{}, err
	}
	if _, err := c.Write(request); err != nil {
		return answer{}, err
	}
	return readAnswer(c.in)
}

var errAnswer = errors.New("the answer is not one that a server of Go gives")

// readAnswer reads an answer of HTTP/1.1 whose length is told.
func readAnswer(in *bufio.Reader) (a answer, err error) {
	line, err := readLine(in)
	if err != nil {
		return a, err
	}
	text, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !ok || len(text) < 3 {
		return a, errAnswer
	}
	if a.status, err = strconv.Atoi(string(text[:3])); err != nil {
		return a, errAnswer
	}
	length := 0
	for {
		line, err := readLine(in)
		if err != nil {
			return a, err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "Content-Length":
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return a, errAnswer
			}
		case "Transfer-Encoding":
			return a, fmt.Errorf("%w: it is chunked", errAnswer)
		case "Belay-Duplicate":
			a.duplicate = string(value) == "true"
		case "Connection":
			a.closes = string(value) == "close"
		}
	}
	_, err = in.Discard(length)
	return a, err
}

// readLine reads a line without its end. It is good until the next read.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}
