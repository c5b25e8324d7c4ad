package jobs_test

import (
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/jobs"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/stream"
)

// A wire leads to a broker. While it is deaf the broker hears, and is not heard.
type wire struct {
	net.Listener
	deaf atomic.Bool

	mu    sync.Mutex
	conns []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, near, far)
			w.mu.Unlock()
			running.Go(func() { _, _ = io.Copy(far, near); far.Close() })
			running.Go(func() { _, _ = io.Copy(w.ear(near), far); near.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); w.cut(); running.Wait() })
	return w
}

// ear is the near end, as long as the wire is not deaf.
func (w *wire) ear(near io.Writer) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		if w.deaf.Load() {
			return len(p), nil
		}
		return near.Write(p)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// cut ends the connections; new ones can be made.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

// A job that was stored, and whose confirmation got lost, is ordered once: who is told
// to send it again would make a second replay, and every event be handled twice.
func TestBeginStoresOneJob(t *testing.T) {
	server := testbroker.Start(t)
	direct := server.Connect()
	if err := direct.Migrate(t.Context(), stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	w := newWire(t, "127.0.0.1:"+strconv.Itoa(server.Port()))
	b, err := stream.Connect(stream.Config{URL: "nats://" + w.Addr().String(), Name: "test", Logger: testbroker.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	board := jobs.NewBoard(b)
	if err := board.Begin(t.Context(), &standing.Job{Kind: standing.JobRedrive}); err != nil {
		t.Fatal(err)
	}
	w.deaf.Store(true)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for {
			if keys, err := direct.Bucket(stream.State).Keys(t.Context(), standing.JobKeys); err != nil || len(keys) > 1 {
				break
			}
			<-time.After(10 * time.Millisecond)
		}
		w.deaf.Store(false)
		w.cut()
	}()
	j := &standing.Job{Kind: standing.JobReplay}
	err = board.Begin(t.Context(), j)
	<-heard
	if err != nil {
		t.Errorf("ordered: %v", err)
	}
	if got, err := jobs.NewBoard(direct).Get(t.Context(), j.ID); err != nil || got.Kind != standing.JobReplay {
		t.Errorf("stored: %+v, %v", got, err)
	}
}
