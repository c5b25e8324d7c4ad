package redrive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/belay-hooks/belay/internal/redrive"
	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a chain of three steps, the second of which is broken until it is mended.
type bench struct {
	t      *testing.T
	broker *stream.Broker
	desk   *redrive.Desk
	mended atomic.Bool
	body   []byte

	mu    sync.Mutex
	calls []string
}

func newBench(t *testing.T) *bench {
	b := testbroker.New(t)
	return &bench{t: t, broker: b, desk: redrive.New(b), body: []byte(`{"n":1}`)}
}

func (b *bench) chain() handler.Chain {
	step := func(order int, name string, f func(*event.Event) error) handler.Step {
		return handler.Step{Order: order, Name: name, Handler: handler.HandlerFunc(
			func(_ context.Context, e *event.Event) (*handler.Response, error) {
				if !bytes.Equal(e.Body, b.body) {
					b.t.Errorf("step %s got %d bytes, want %d", name, len(e.Body), len(b.body))
				}
				b.mu.Lock()
				b.calls = append(b.calls, fmt.Sprintf("%s run %d", name, e.Run))
				b.mu.Unlock()
				return nil, f(e)
			})}
	}
	return handler.Chain{Name: "c", Earliest: true, Steps: []handler.Step{
		step(1, "a", func(e *event.Event) error { return e.Values.Set("v", "from a") }),
		step(2, "b", func(e *event.Event) error {
			if b.mended.Load() {
				return nil
			}
			return handler.Never(errors.New("broken"))
		}),
		step(3, "c", func(e *event.Event) error {
			var v string
			if _, err := e.Values.Get("v", &v); err != nil || v != "from a" {
				return handler.Never(fmt.Errorf("the value of step a is %q, %w", v, err))
			}
			return nil
		}),
	}}
}

// work runs the chain until it is stopped, or the test ends.
func (b *bench) work() (stop func()) {
	b.t.Helper()
	w, err := worker.New(b.t.Context(), worker.Config{Broker: b.broker, Logger: testbroker.Logger(b.t)}, b.chain())
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := w.Run(ctx); err != nil {
			b.t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	b.t.Cleanup(stop)
	return stop
}

// fail stores an event and waits until it is a dead letter.
func (b *bench) fail() stream.LetterID {
	b.t.Helper()
	e := &event.Event{ID: "e", Source: "/github/default", Type: "github.push", Receiver: "github", SourceID: "default", Time: time.Now(), Body: b.body}
	if _, err := b.broker.StoreEvent(b.t.Context(), e); err != nil {
		b.t.Fatal(err)
	}
	b.wait("the dead letter", func() bool { return len(b.open()) == 1 })
	b.settled(1)
	return b.open()[0]
}

// settled waits until the chain has recorded so many ends.
func (b *bench) settled(n int) {
	b.t.Helper()
	b.wait(fmt.Sprintf("%d records", n), func() bool {
		found, err := b.broker.Subjects(b.t.Context(), stream.Done, stream.DoneSubject("c", 0))
		return err == nil && found[stream.DoneSubject("c", 0)] >= uint64(n) && b.parked() == 0
	})
}

func (b *bench) parked() int {
	found, err := b.broker.Subjects(b.t.Context(), stream.Retry, "belay.retry.>")
	if err != nil {
		return -1
	}
	return len(found)
}

func (b *bench) letters(filter string) (ids []stream.LetterID) {
	b.t.Helper()
	err := b.broker.Scan(b.t.Context(), stream.Range{Stream: stream.Dead, Filters: []string{filter}, HeadersOnly: true}, func(m *stream.Stored) bool {
		l, err := standing.ReadLetter(m)
		if err != nil {
			b.t.Fatal(err)
		}
		ids = append(ids, l.LetterID)
		return true
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return ids
}

func (b *bench) open() []stream.LetterID   { return b.letters(stream.DeadEvents("c")) }
func (b *bench) closed() []stream.LetterID { return b.letters(stream.DeadCloseds("c")) }

func (b *bench) wait(what string, ok func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			b.t.Fatalf("waited in vain for %s; handlers ran: %q", what, b.ran())
		case <-tick.C:
		}
	}
}

func (b *bench) ran() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

var errCut = errors.New("the process died here")

// A redrive that is cut before each of its writes, and then made again, brings the
// event back exactly once.
func TestRedriveCutAtEachWrite(t *testing.T) {
	for _, c := range []struct {
		name   string
		start  bool
		writes []string
		again  []string // what runs after it is mended
	}{
		{"at the failed step", false, []string{"progress", "due", "closed", "letter deleted"}, []string{"b run 0", "c run 0"}},
		{"from the start", true, []string{"progress", "progress of the run", "due", "closed", "letter deleted"}, []string{"a run 5", "b run 5", "c run 5"}},
	} {
		for _, cut := range c.writes {
			for _, working := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, before %s, working %t", c.name, cut, working), func(t *testing.T) {
					t.Parallel()
					b := newBench(t)
					stop := b.work()
					id := b.fail()
					before := b.ran()
					b.mended.Store(true)
					if !working {
						stop()
					}
					var wrote []string
					b.desk.BeforeWrite = func(name string) error {
						if name == cut {
							return errCut
						}
						wrote = append(wrote, name)
						return nil
					}
					o := redrive.Order{Verb: standing.Redriven, Start: c.start, Run: 5, By: "test"}
					if err := b.desk.Settle(t.Context(), id, o); !errors.Is(err, errCut) {
						t.Fatalf("cut before %s: %v", cut, err)
					}
					if want := c.writes[:slices.Index(c.writes, cut)]; !slices.Equal(wrote, want) {
						t.Fatalf("written before %s: %q, want %q", cut, wrote, want)
					}
					if working && slices.Contains(wrote, "due") {
						b.settled(2) // the chain is faster than who makes it again
					}
					b.desk.BeforeWrite = nil
					var p *rest.Problem
					if err := b.desk.Settle(t.Context(), id, o); err != nil && !(errors.As(err, &p) && slices.Contains(wrote, "closed")) {
						t.Fatalf("made again: %v", err)
					}
					if !working {
						b.work()
					}
					b.settled(2)
					if got := b.ran()[len(before):]; !slices.Equal(got, c.again) {
						t.Errorf("ran %q, want %q", got, c.again)
					}
					if open, closed := b.open(), b.closed(); len(open) != 0 || !slices.Equal(closed, []stream.LetterID{id}) {
						t.Errorf("open %v, closed %v", open, closed)
					}
					if err := b.desk.Settle(t.Context(), id, o); !errors.As(err, &p) || p.Status != http.StatusConflict {
						t.Errorf("redriven once more: %v", err)
					}
				})
			}
		}
	}
}

func TestRedriveByManyAtOnce(t *testing.T) {
	for _, start := range []bool{false, true} {
		t.Run(fmt.Sprintf("from the start %t", start), func(t *testing.T) {
			b := newBench(t)
			b.work()
			id := b.fail()
			before := len(b.ran())
			b.mended.Store(true)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					var p *rest.Problem
					err := b.desk.Settle(t.Context(), id, redrive.Order{Verb: standing.Redriven, Start: start, By: "test"})
					if err != nil && !errors.As(err, &p) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			b.settled(2)
			steps := 2
			if start {
				steps = 3
			}
			if got := b.ran()[before:]; len(got) != steps {
				t.Errorf("ran %q, want %d steps", got, steps)
			}
			if open := b.open(); len(open) != 0 {
				t.Errorf("still open: %v", open)
			}
		})
	}
}

func TestRedrivenAndGivenUpAgainIsAnotherLetter(t *testing.T) {
	b := newBench(t)
	b.work()
	first := b.fail()
	o := redrive.Order{Verb: standing.Redriven, By: "test"}
	if err := b.desk.Settle(t.Context(), first, o); err != nil {
		t.Fatal(err)
	}
	b.wait("the second letter", func() bool {
		return slices.ContainsFunc(b.open(), func(l stream.LetterID) bool { return l.Redrives == 1 })
	})
	b.settled(2)
	b.mended.Store(true)
	second := b.open()[0]
	if err := b.desk.Settle(t.Context(), second, o); err != nil {
		t.Fatal(err)
	}
	b.settled(3)
	if want := []string{"a run 0", "b run 0", "b run 0", "b run 0", "c run 0"}; !slices.Equal(b.ran(), want) {
		t.Errorf("ran %q, want %q", b.ran(), want)
	}
	if closed := b.closed(); len(closed) != 2 {
		t.Errorf("closed: %v", closed)
	}
}

// What is redriven and then cannot be gone on with is a letter again, not taken for
// the one that was closed.
func TestRedrivenAndForgottenIsAnotherLetter(t *testing.T) {
	b := newBench(t)
	stop := b.work()
	first := b.fail()
	stop()
	o := redrive.Order{Verb: standing.Redriven, By: "test"}
	if err := b.desk.Settle(t.Context(), first, o); err != nil {
		t.Fatal(err)
	}
	// No worker has run for so long that the progress is too old.
	if err := b.broker.Bucket(stream.Progress).Delete(t.Context(), stream.ProgressKey("c", first.Place)); err != nil {
		t.Fatal(err)
	}
	b.mended.Store(true)
	b.work()
	b.wait("the second letter", func() bool { return len(b.open()) == 1 })
	b.settled(2)
	if err := b.desk.Settle(t.Context(), b.open()[0], redrive.Order{Verb: standing.Redriven, Start: true, By: "test"}); err != nil {
		t.Fatal(err)
	}
	b.settled(3)
	if want := []string{"a run 0", "b run 0", "a run 1", "b run 1", "c run 1"}; !slices.Equal(b.ran(), want) {
		t.Errorf("ran %q, want %q", b.ran(), want)
	}
}

func TestDiscardCutAtEachWrite(t *testing.T) {
	for _, cut := range []string{"closed", "letter deleted"} {
		t.Run(cut, func(t *testing.T) {
			b := newBench(t)
			b.work()
			id := b.fail()
			before := b.ran()
			b.desk.BeforeWrite = func(name string) error {
				if name == cut {
					return errCut
				}
				return nil
			}
			o := redrive.Order{Verb: standing.Discarded, By: "ann", Why: "a test's"}
			if err := b.desk.Settle(t.Context(), id, o); !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			b.desk.BeforeWrite = nil
			var p *rest.Problem
			if err := b.desk.Settle(t.Context(), id, o); err != nil && !errors.As(err, &p) {
				t.Fatal(err)
			}
			if open := b.open(); len(open) != 0 {
				t.Errorf("still open: %v", open)
			}
			l, _, err := b.desk.Letter(t.Context(), id)
			if err != nil || l.Closed == nil || l.Closed.By != "ann" || l.Closed.Why != "a test's" || l.Event.ID != "e" || len(l.Failures) != 1 {
				t.Errorf("the record: %+v, %v", l, err)
			}
			if got := b.ran(); !slices.Equal(got, before) {
				t.Errorf("ran %q", got[len(before):])
			}
		})
	}
}

// A large body stays with the event, also when its own place has forgotten it.
func TestLargeBodies(t *testing.T) {
	for _, size := range []int{standing.MaxParkedBody + 1, stream.MaxInline + 1, 3 << 20} {
		for _, purged := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, purged %t", size, purged), func(t *testing.T) {
				b := newBench(t)
				b.body = bytes.Repeat([]byte("x"), size)
				b.work()
				id := b.fail()
				b.mended.Store(true)
				if purged {
					if err := b.broker.Purge(t.Context(), stream.In(0), ">"); err != nil {
						t.Fatal(err)
					}
				}
				if err := b.desk.Settle(t.Context(), id, redrive.Order{Verb: standing.Redriven, By: "test"}); err != nil {
					t.Fatal(err)
				}
				b.settled(2)
				if want := []string{"a run 0", "b run 0", "b run 0", "c run 0"}; !slices.Equal(b.ran(), want) {
					t.Errorf("ran %q, want %q", b.ran(), want)
				}
			})
		}
	}
}
