package worker_test

import (
	"net"
	"sync"
	"testing"
)

// link is a wire between a pod and the broker that can be cut without either of
// them being told, as a network does.
type link struct {
	listener net.Listener
	server   string // host:port of the broker

	mu    sync.Mutex
	open  *sync.Cond
	held  bool
	ended bool
	conns []net.Conn
	group sync.WaitGroup
}

func newLink(t *testing.T, server string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{listener: l, server: server}
	k.open = sync.NewCond(&k.mu)
	k.group.Go(k.accept)
	t.Cleanup(k.close)
	return k
}

func (k *link) url() string { return "nats://" + k.listener.Addr().String() }

func (k *link) accept() {
	for {
		near, err := k.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", k.server)
		if err != nil {
			_ = near.Close()
			continue
		}
		k.mu.Lock()
		k.conns = append(k.conns, near, far)
		if k.ended {
			_, _ = near.Close(), far.Close()
		}
		k.mu.Unlock()
		k.group.Go(func() { k.carry(near, far) })
		k.group.Go(func() { k.carry(far, near) })
	}
}

// carry copies what comes, as long as the wire is not cut.
func (k *link) carry(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		k.mu.Lock()
		for k.held {
			k.open.Wait()
		}
		k.mu.Unlock()
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// cut holds all that is on the wire back, or lets it go on.
func (k *link) cut(held bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = held
	k.open.Broadcast()
}

func (k *link) close() {
	_ = k.listener.Close()
	k.mu.Lock()
	k.ended, k.held = true, false
	k.open.Broadcast()
	for _, c := range k.conns {
		_ = c.Close()
	}
	k.mu.Unlock()
	k.group.Wait()
}
