// Package bench is the load that belay bench puts on a server: genuine webhooks
// over kept connections, as fast as they are answered or at a fixed rate, and the
// count of what was stored of them afterwards.
package bench

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/belay-hooks/belay/pkg/receiver"
)

// zeros end the delivery id of a webhook that has no number yet.
const (
	zeros      = "000000000000"
	numberSize = len(zeros)
)

// HookConfig describes a webhook.
type HookConfig struct {
	// Source signs it.
	Source *receiver.Source
	// Path is where it is posted to.
	Path string
	// Header holds what the provider sends besides the signature.
	Header http.Header
	// Body is what is sent.
	Body []byte
	// ID is the delivery id, which stands once in Header or in Body and ends with
	// twelve zeros: each webhook gets its number there.
	ID string
	// Signature is the header with the signature, if that changes with the id.
	// Empty: one signature serves all.
	Signature string
	// Stamped says that Body is what [Stamp] wrote: each webhook tells its number and
	// when it was sent.
	Stamped bool
}

// A Hook is a webhook that is sent over and over, each time with another
// delivery id. It is ready to be written: what changes is overwritten in place,
// so that the load costs little beside what it measures. It serves one goroutine.
type Hook struct {
	c       HookConfig
	request *http.Request // what is signed

	// What follows are parts of message: a request, from its first line on.
	message, body, number, signature []byte
}

// NewHook prepares a webhook. It fails if the source cannot sign it, or what
// changes is not found in it exactly once.
func NewHook(c HookConfig) (*Hook, error) {
	r, err := http.NewRequest(http.MethodPost, "http://127.0.0.1"+c.Path, nil) //nolint:noctx // it is never sent
	if err != nil {
		return nil, fmt.Errorf("prepare a webhook: %w", err)
	}
	r.Header = c.Header.Clone()
	if c.Body, err = c.Source.Sign(r, c.Body, time.Now()); err != nil {
		return nil, fmt.Errorf("prepare a webhook: %w", err)
	}
	var m bytes.Buffer
	fmt.Fprintf(&m, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n", c.Path, len(c.Body))
	if err := r.Header.Write(&m); err != nil {
		return nil, fmt.Errorf("prepare a webhook: %w", err)
	}
	m.WriteString("\r\n")
	m.Write(c.Body)
	h := &Hook{c: c, request: r, message: m.Bytes()}
	h.body = h.message[len(h.message)-len(c.Body):]
	id, err := h.find(c.ID)
	if err != nil {
		return nil, err
	}
	if !bytes.HasSuffix(id, []byte(zeros)) {
		return nil, fmt.Errorf("prepare a webhook: the delivery id %s does not end with %d zeros", c.ID, numberSize)
	}
	h.number = id[len(id)-numberSize:]
	if c.Signature != "" {
		if h.signature, err = h.find(r.Header.Get(c.Signature)); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// find is where the text stands in the message.
func (h *Hook) find(text string) ([]byte, error) {
	if bytes.Count(h.message, []byte(text)) != 1 {
		return nil, fmt.Errorf("prepare a webhook: %q does not stand in it exactly once", text)
	}
	at := bytes.Index(h.message, []byte(text))
	return h.message[at : at+len(text)], nil
}

// Clone is the same webhook for another goroutine.
func (h *Hook) Clone() (*Hook, error) { return NewHook(h.c) }

// Size is the size of the body in bytes.
func (h *Hook) Size() int { return len(h.body) }

// Numbered is the request with the n-th delivery id. It is good until the next call.
func (h *Hook) Numbered(n uint64, now time.Time) ([]byte, error) {
	digits := strconv.AppendUint(make([]byte, 0, numberSize), n, 10)
	if len(digits) > numberSize {
		return nil, fmt.Errorf("number a webhook: %d has more than %d digits", n, numberSize)
	}
	copy(h.number, zeros)
	copy(h.number[numberSize-len(digits):], digits)
	if h.c.Stamped {
		copy(h.body, stamp(int64(n), now)) //nolint:gosec // it has at most twelve digits
	}
	if h.signature == nil {
		return h.message, nil
	}
	if _, err := h.c.Source.Sign(h.request, h.body, now); err != nil {
		return nil, fmt.Errorf("sign a webhook: %w", err)
	}
	if copy(h.signature, h.request.Header.Get(h.c.Signature)) != len(h.signature) {
		return nil, fmt.Errorf("sign a webhook: the signature is not as long as the one before")
	}
	return h.message, nil
}

// numberOf is the number in a delivery id, or in what ends with one.
func numberOf(id string) (uint64, bool) {
	if len(id) < numberSize {
		return 0, false
	}
	n, err := strconv.ParseUint(id[len(id)-numberSize:], 10, 64)
	return n, err == nil
}
