package ingress

import (
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// A room is how much the requests in hand may take. Every one of them takes its
// share before the memory is allocated, so that a flood is refused and does not
// end the process.
type room struct {
	maxBytes    int64
	maxRequests int64
	bytes       atomic.Int64
	requests    atomic.Int64
	connections atomic.Int64
	waiting     atomic.Int64 // of the requests: for a chain's answer
}

func newRoom(c Config) *room {
	r := &room{maxBytes: c.MaxBytes, maxRequests: int64(c.MaxRequests)}
	if r.maxBytes == 0 {
		r.maxBytes = defaultMaxBytes
		if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
			r.maxBytes = limit / 4
		}
	}
	if r.maxRequests == 0 {
		r.maxRequests = defaultMaxRequests
	}
	return r
}

// forLarge is what bodies that are not small may take. A flood of large ones
// leaves room for the small ones of others.
func (r *room) forLarge() int64 { return r.maxBytes / 4 * 3 }

// largest is the greatest body that fits when nobody else is there: while a
// buffer grows, the new one and an old one of at most half its size exist.
func (r *room) largest() int64 { return (r.forLarge() - requestBytes) / 3 * 2 }

// connection counts the connections. One too many is closed before anything is
// read from it: each has buffers, idle or not.
func (r *room) connection(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if r.connections.Add(1) > 2*r.maxRequests {
			_ = c.Close() // the server notices, and tells it with StateClosed
		}
	case http.StateClosed, http.StateHijacked:
		r.connections.Add(-1)
	case http.StateActive, http.StateIdle:
	}
}

// take reserves bytes, or reports that with them more would be taken than this.
func (r *room) take(n, most int64) bool {
	if r.bytes.Add(n) > most {
		r.bytes.Add(-n)
		return false
	}
	return true
}

// enter takes the room of a request without its body.
func (x *exchange) enter() bool {
	if x.room.requests.Add(1) > x.room.maxRequests || !x.room.take(requestBytes, x.room.maxBytes) {
		x.room.requests.Add(-1)
		return false
	}
	x.taken = requestBytes
	return true
}

// wait takes the room of a request that waits for a chain. A quarter of all may:
// where no worker answers, each of them is here for its whole budget, and the
// senders that wait for nothing need the rest.
func (x *exchange) wait() bool {
	if x.room.waiting.Add(1) > max(x.room.maxRequests/4, 1) {
		x.room.waiting.Add(-1)
		return false
	}
	return true
}

// leave gives back what the request took.
func (x *exchange) leave() {
	if x.question != nil {
		x.question.Close()
		x.room.waiting.Add(-1)
	}
	if x.taken > 0 {
		x.room.bytes.Add(-x.taken)
		x.room.requests.Add(-1)
	}
	if x.buffer != nil {
		buffers.Put(x.buffer)
	}
}

// Most bodies fit into a buffer of this size, which one request after another uses.
const bufferSize = 16 << 10

type buffer [bufferSize]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// read reads the body, whose length is -1 if it is not known. The memory for it
// is taken as the bytes come: who claims a large body and does not send it has
// little.
func (x *exchange) read(length, limit int64) (body []byte, err error) {
	from := x.r.Body
	if length < 0 {
		from = http.MaxBytesReader(x.w, from, limit)
	}
	for {
		if len(body) == cap(body) {
			if int64(len(body)) == length {
				return body, nil
			}
			if body, err = x.grow(body, nextSize(int64(len(body)), length, limit)); err != nil {
				return nil, err
			}
		}
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, brokenBody(err)
		}
	}
}

// nextSize is the size of the buffer that a full one is replaced by: the whole
// of a small body at once, of a larger one at most 16 times what has come. With
// smaller steps the bodies of a flood would all get half-way and none to its end.
func nextSize(have, length, limit int64) int64 {
	if length < 0 {
		if have <= limit/4 {
			return min(max(2*have, firstRead), limit+1)
		}
		return limit + 1 // one byte more than is allowed shows that it is too much
	}
	size := length
	for size > smallBody && size/16 > have {
		size /= 16
	}
	return size
}

// grow moves the body into a buffer of this size.
func (x *exchange) grow(body []byte, size int64) ([]byte, error) {
	most := x.room.maxBytes
	if size > smallBody {
		most = x.room.forLarge()
	}
	if !x.room.take(size, most) {
		return nil, x.overloaded()
	}
	grown := append(x.hold(size), body...)
	x.room.bytes.Add(-int64(cap(body)))
	x.taken += size - int64(cap(body))
	return grown, nil
}

// hold returns memory of this size for the body, until the request is answered.
func (x *exchange) hold(size int64) []byte {
	if size > bufferSize {
		return make([]byte, 0, size)
	}
	if x.buffer == nil {
		x.buffer = buffers.Get().(*buffer)
	}
	return x.buffer[:0:size] // what a smaller one held is there already
}

func (x *exchange) overloaded() error {
	return &refusal{outcome: overloaded, status: http.StatusServiceUnavailable, retryAfter: retrySoon}
}
