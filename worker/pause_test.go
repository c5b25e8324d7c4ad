package worker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

func pauseChain(t *testing.T, b *stream.Broker, chain string) {
	t.Helper()
	if _, err := standing.Paused.Set(t.Context(), b, chain, standing.Switch{By: "ann", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
}

func resumeChain(t *testing.T, b *stream.Broker, chain string) {
	t.Helper()
	if err := standing.Paused.Unset(t.Context(), b, chain); err != nil {
		t.Fatal(err)
	}
}

// backlog is what the broker says of a chain.
func backlog(t *testing.T, b *stream.Broker, chain string) *stream.Backlog {
	t.Helper()
	all, err := b.Backlogs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(l *stream.Backlog) bool { return l.Chain == chain })
	if i < 0 {
		t.Fatalf("the chain %s is not among %v", chain, all)
	}
	if err := b.Measure(t.Context(), all[i]); err != nil {
		t.Fatal(err)
	}
	return all[i]
}

func TestPausedChain(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprintf("ordered %v", ordered), func(t *testing.T) {
			b := testbroker.New(t)
			var paused, other calls
			running, finish := make(chan bool), make(chan bool)
			chains := []handler.Chain{
				{Name: "c", Ordered: ordered, Earliest: true, Steps: []handler.Step{paused.step(1, "h", func(e *event.Event) (*handler.Response, error) {
					if e.ID == "long" {
						running <- true
						<-finish
					}
					return nil, nil
				})}},
				{Name: "other", Earliest: true, Steps: []handler.Step{other.step(1, "h", nil)}},
			}
			// A pause from before the start holds from the first event on.
			pauseChain(t, b, "c")
			publish(t, b, "long", "push")
			registry := prometheus.NewRegistry()
			_, stop := start(t, worker.Config{Broker: b, Metrics: registry}, chains...)
			other.wait(t, "long:h#1")
			if got := paused.all(); len(got) != 0 {
				t.Fatalf("ran while paused: %v", got)
			}
			resumeChain(t, b, "c")
			<-running

			// What runs finishes; what comes waits, and is not handed out.
			began := time.Now()
			pauseChain(t, b, "c")
			waitFor(t, func() bool { return gaugeOf(t, registry, "belay_worker_chain_paused", "c") == 1 })
			t.Logf("paused within %v", time.Since(began))
			for i := range 5 {
				publish(t, b, fmt.Sprint(i), "push")
			}
			close(finish)
			waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 && len(other.all()) == 6 })
			waitFor(t, func() bool {
				n := backlog(t, b, "c").Events()
				return n == 5 || ordered && n == 6 // how far it is done is told once a second
			})
			if got := paused.all(); len(got) != 1 {
				t.Fatalf("ran while paused, for %v: %v", time.Since(began), got)
			}
			if l := backlog(t, b, "c"); l.Oldest().IsZero() || !l.Attended {
				t.Errorf("backlog %+v", l)
			}

			// Another process knows of it too.
			stop()
			if l := backlog(t, b, "c"); l.Attended {
				t.Errorf("nobody runs it: %+v", l)
			}
			_, stop = start(t, worker.Config{Broker: b}, chains...)
			publish(t, b, "last", "push")
			waitFor(t, func() bool { return len(other.all()) == 7 })
			if got := paused.all(); len(got) != 1 {
				t.Fatalf("ran while paused: %v", got)
			}
			resumed := time.Now()
			resumeChain(t, b, "c")
			waitFor(t, func() bool { return len(paused.all()) == 7 })
			t.Logf("six events were handled %v after the chain was resumed", time.Since(resumed))
			stop()
		})
	}
}

func TestSourceIsSwitchedOff(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		off    []string
		want   bool
	}{
		{"gone", http.StatusGone, []string{"github/default"}, true},
		{"gone, where the source does not say so", http.StatusGone, []string{"github/other"}, false},
		{"another status", http.StatusNotFound, []string{"github/default"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := testbroker.New(t)
			start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", SwitchOff: c.off, Steps: []handler.Step{
				{Name: "h", Handler: handler.HandlerFunc(func(context.Context, *event.Event) (*handler.Response, error) {
					return &handler.Response{Status: c.status}, nil
				})},
			}})
			publish(t, b, "e", "push")
			waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
			off, err := standing.Off.All(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			sw, is := off["github/default"]
			if is != c.want || is && (sw.By != "chain c" || sw.Why != "handler h answered 410 to the event e") {
				t.Errorf("switched off: %+v", off)
			}
		})
	}
}

func TestHandlersHaveRetryPoliciesOfTheirOwn(t *testing.T) {
	b := testbroker.New(t)
	var c calls
	fails := func(*event.Event) (*handler.Response, error) { return nil, errors.New("no") }
	own := c.step(2, "own", fails)
	own.Retry = quick
	own.Retry.Attempts = 2
	start(t, worker.Config{Broker: b}, handler.Chain{Name: "c", Retry: quick, Steps: []handler.Step{c.step(1, "a", nil), own}})
	publish(t, b, "e", "push")
	waitFor(t, func() bool { return len(records(t, b, "c", 0)) == 1 })
	c.wait(t, "e:a#1", "e:own#1", "e:own#2")
}

// gaugeOf is the value of a chain's gauge; -1: there is none.
func gaugeOf(t *testing.T, registry *prometheus.Registry, name, chain string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetName() == "chain" && l.GetValue() == chain {
					return m.GetGauge().GetValue()
				}
			}
		}
	}
	return -1
}
