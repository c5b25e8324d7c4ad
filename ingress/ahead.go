package ingress

import (
	"bufio"
	"net"
)

// readAhead is how much of a connection is read at once: the head of a webhook of the
// usual size and its body come with one system call. The server itself reads one byte to
// see that there is a request, then 4 KiB, then the rest.
const readAhead = 8 << 10

// aheadListener accepts connections that are read ahead.
type aheadListener struct{ *net.TCPListener }

// Accept waits for the next connection.
func (l aheadListener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &aheadConn{tcpConn: conn, ahead: bufio.NewReaderSize(conn, readAhead)}, nil
}

// tcpConn is what the server needs of a connection: with CloseWrite it lets a sender that is
// cut off read the answer first. A whole [net.TCPConn] would also hand on its WriteTo, which
// passes over what was read ahead.
type tcpConn interface {
	net.Conn
	CloseWrite() error
}

// aheadConn is a connection that is read ahead. Like any, it is read by one at a time.
type aheadConn struct {
	tcpConn
	ahead *bufio.Reader
}

// Read reads what has come.
func (c *aheadConn) Read(p []byte) (int, error) { return c.ahead.Read(p) }
