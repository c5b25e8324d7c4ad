package stream

import (
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// The bounds of a connection whose writes are gathered.
const (
	// gatherAtMost is how many bytes are gathered before who writes more has to wait.
	gatherAtMost = 256 << 10
	// sendWithin bounds how long the network may take for what is sent at once, and
	// lastWithin for what is left when the connection is closed.
	sendWithin = time.Minute
	lastWithin = 250 * time.Millisecond
)

// gathered is a connection to the broker that gathers what is written, and sends it once
// all that can run has run, so that who is about to write does so first. The client flushes
// as soon as one message is written: at a high rate it would send nearly each by itself, at
// the price of a system call. Where nothing else can run nothing waits. (gRPC does the same:
// https://github.com/grpc/grpc-go/blob/master/internal/transport/controlbuf.go.)
type gathered struct {
	net.Conn

	mu      sync.Mutex
	changed sync.Cond
	waiting []byte // for being sent
	spare   []byte // the memory of what was sent last
	closing bool
	err     error         // why nothing more is sent
	ended   chan struct{} // is closed then
}

// gather makes a connection gather what is written.
func gather(conn net.Conn) *gathered {
	c := &gathered{Conn: conn, ended: make(chan struct{})}
	c.changed.L = &c.mu
	go c.send()
	return c
}

// Write takes p, to be sent in a moment. It fails if what was written before could not be.
func (c *gathered) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) > gatherAtMost && c.err == nil && !c.closing {
		c.changed.Wait()
	}
	switch {
	case c.closing:
		return 0, net.ErrClosed
	case c.err != nil:
		return 0, c.err
	}
	c.waiting = append(c.waiting, p...)
	c.changed.Broadcast()
	return len(p), nil
}

// SetWriteDeadline does nothing: how long sending may take is bounded here.
func (c *gathered) SetWriteDeadline(time.Time) error { return nil }

// Close sends what is left, and closes the connection.
func (c *gathered) Close() error {
	c.mu.Lock()
	c.closing = true
	_ = c.Conn.SetWriteDeadline(time.Now().Add(lastWithin)) // of what is being sent, too
	c.changed.Broadcast()
	c.mu.Unlock()
	<-c.ended
	return c.Conn.Close()
}

// send sends what is gathered until the connection is closed, or fails: then it is closed
// here, by which its reader is told.
func (c *gathered) send() {
	defer close(c.ended)
	for c.wait() {
		runtime.Gosched()
		if _, err := c.Conn.Write(c.take()); err != nil {
			c.mu.Lock()
			c.err = err
			c.changed.Broadcast()
			c.mu.Unlock()
			_ = c.Conn.Close()
			return
		}
	}
}

// wait waits for something to be sent; false: there will be nothing.
func (c *gathered) wait() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) == 0 && !c.closing {
		c.changed.Wait()
	}
	return len(c.waiting) > 0
}

// take returns what is to be sent now. What it returned before has been sent.
func (c *gathered) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		_ = c.Conn.SetWriteDeadline(time.Now().Add(sendWithin))
	}
	batch := c.waiting
	c.waiting, c.spare = c.spare[:0], batch
	if cap(batch) > 2*gatherAtMost {
		c.spare = nil // a large message is rare
	}
	c.changed.Broadcast()
	return batch
}

// dialer connects to a broker; what is written to it is gathered.
type dialer struct{ net.Dialer }

// Dial implements [nats.CustomDialer].
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := d.Dialer.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return gather(conn), nil
}

// inProcess connects to a broker in this process in the same way.
type inProcess struct{ nats.InProcessConnProvider }

// InProcessConn implements [nats.InProcessConnProvider].
func (p inProcess) InProcessConn() (net.Conn, error) {
	conn, err := p.InProcessConnProvider.InProcessConn()
	if err != nil {
		return nil, err
	}
	return gather(conn), nil
}
