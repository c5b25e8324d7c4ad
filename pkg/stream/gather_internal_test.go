package stream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// counted counts the writes of a connection.
type counted struct {
	net.Conn
	writes int
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}

// What many write arrives whole and in each one's order, and is sent together.
func TestWritesAreGathered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := &counted{Conn: near}
		g := gather(c)
		const writers, each = 20, 50
		var writing sync.WaitGroup
		for w := range writers {
			writing.Go(func() {
				for i := range each {
					if _, err := g.Write([]byte(strconv.Itoa(w) + " " + strconv.Itoa(i) + "\n")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writing.Wait()
		closed := make(chan error, 1)
		go func() { closed <- g.Close() }()
		all, err := io.ReadAll(far)
		if err != nil || <-closed != nil {
			t.Fatal("read and close:", err)
		}
		next := map[string]int{}
		for line := range bytes.Lines(all) {
			w, i, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
			if string(i) != strconv.Itoa(next[string(w)]) {
				t.Fatalf("writer %s: %s came, want %d", w, i, next[string(w)])
			}
			next[string(w)]++
		}
		if len(next) != writers || bytes.Count(all, []byte("\n")) != writers*each {
			t.Errorf("%d lines of %d writers came", bytes.Count(all, []byte("\n")), len(next))
		}
		if c.writes > 10 {
			t.Errorf("%d writes for what was written at once", c.writes)
		}
	})
}

// Who writes more than the network takes waits for it.
func TestGatheringIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		g := gather(near)
		written := 0
		go func() {
			for {
				n, err := g.Write(make([]byte, 10<<10))
				if err != nil {
					return
				}
				written += n
			}
		}()
		synctest.Wait()
		if most := 2*gatherAtMost + 20<<10; written < gatherAtMost || written > most {
			t.Errorf("%d bytes wait, want %d to %d", written, gatherAtMost, most)
		}
		was := written
		if _, err := io.CopyN(io.Discard, far, 2*gatherAtMost); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if written == was {
			t.Error("nothing more is taken though there is room")
		}
		_ = g.Close()
		_ = far.Close()
	})
}

func TestGatheringEnds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end  func(g *gathered, far net.Conn)
		took time.Duration
		want error
	}{
		"the other side is gone":            {func(_ *gathered, far net.Conn) { _ = far.Close() }, 0, io.ErrClosedPipe},
		"the other side takes nothing":      {func(*gathered, net.Conn) {}, sendWithin, os.ErrDeadlineExceeded},
		"it is closed, and nothing is read": {func(g *gathered, _ net.Conn) { _ = g.Close() }, lastWithin, net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				g, began := gather(near), time.Now()
				if _, err := g.Write([]byte("one")); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // it is being sent
				test.end(g, far)
				<-g.ended
				if took := time.Since(began); took != test.took {
					t.Errorf("ended after %v, want %v", took, test.took)
				}
				if _, err := g.Write([]byte("two")); !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				// Its reader has to learn of it.
				if _, err := near.Read(make([]byte, 1)); err == nil {
					t.Error("the connection is still open")
				}
				_ = g.Close()
				_ = far.Close()
			})
		})
	}
}
