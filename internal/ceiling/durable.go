package ceiling

import (
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ConnectInProcess connects to a broker in the same process.
func ConnectInProcess(server interface {
	InProcessConn() (net.Conn, error)
}) (*Publisher, error) {
	nc, err := nats.Connect("", nats.InProcessServer(server))
	if err != nil {
		return nil, fmt.Errorf("connect to the broker of this process: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("set up JetStream: %w", err)
	}
	return &Publisher{nc: nc, js: js}, nil
}

// Flushed lets no answer of the handler leave before a flush that began after it
// was made: the server sends a short answer when its handler returns. Handlers
// that end during one flush share the next.
func Flushed(next http.Handler, flush func() error) http.Handler {
	f := &flusher{flush: flush, waiting: &round{}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		if f.wait() != nil {
			panic(http.ErrAbortHandler) // the answer would be a lie
		}
	})
}

type flusher struct {
	flush    func() error
	flushing sync.Mutex // held during a flush
	mu       sync.Mutex
	waiting  *round
}

// A round is who waits for one flush. The first of them flushes.
type round struct {
	once sync.Once
	err  error
}

func (f *flusher) wait() error {
	f.mu.Lock()
	mine := f.waiting
	f.mu.Unlock()
	mine.once.Do(func() {
		f.flushing.Lock()
		defer f.flushing.Unlock()
		f.mu.Lock()
		f.waiting = &round{} // who comes from now on is not covered
		f.mu.Unlock()
		mine.err = f.flush()
	})
	return mine.err
}
