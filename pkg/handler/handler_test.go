package handler_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
)

func TestRetryNext(t *testing.T) {
	r := handler.DefaultRetry
	for _, c := range []struct {
		name   string
		failed int
		age    time.Duration
		random float64
		want   time.Duration
		again  bool
	}{
		{"after the first failure", 1, 0, 0.5, time.Second, true},
		{"doubles", 4, 0, 0.5, 8 * time.Second, true},
		{"earliest within the jitter", 1, 0, 0, 800 * time.Millisecond, true},
		{"latest within the jitter", 1, 0, 1, 1200 * time.Millisecond, true},
		{"the last attempt has failed", 12, 0, 0.5, 0, false},
		{"the event is too old", 2, 72 * time.Hour, 0.5, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, again := r.Next(c.failed, c.age, c.random)
			if got != c.want || again != c.again {
				t.Errorf("got %v, %v; want %v, %v", got, again, c.want, c.again)
			}
		})
	}
}

func TestRetryWaitsStayInBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := handler.Retry{
			Attempts: math.MaxInt,
			First:    time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "first")),
			Factor:   rapid.Float64Range(1, 100).Draw(t, "factor"),
			Jitter:   rapid.Float64Range(0, 1).Draw(t, "jitter"),
			GiveUp:   time.Hour,
		}
		r.Max = r.First + time.Duration(rapid.Int64Range(0, int64(24*time.Hour)).Draw(t, "max"))
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		wait, again := r.Next(rapid.IntRange(1, 1_000_000).Draw(t, "failed"), 0, rapid.Float64Range(0, 1).Draw(t, "random"))
		if !again || wait < 0 || float64(wait) > float64(r.Max)*(1+r.Jitter)+1 {
			t.Fatalf("wait %v, again %v", wait, again)
		}
	})
}

func TestVerdictsAreRecognisedThroughWrapping(t *testing.T) {
	cause := errors.New("cause")
	later := fmt.Errorf("wrapped: %w", handler.Later(time.Minute, cause))
	if d, ok := handler.AsLater(later); !ok || d != time.Minute || !errors.Is(later, cause) {
		t.Errorf("Later: %v %v %v", d, ok, later)
	}
	if never := fmt.Errorf("wrapped: %w", handler.Never(cause)); !handler.IsNever(never) || !errors.Is(never, cause) {
		t.Errorf("Never: %v", never)
	}
	if _, ok := handler.AsLater(cause); ok || handler.IsNever(cause) || handler.IsNever(nil) {
		t.Error("an ordinary error was taken for a verdict")
	}
	if handler.Later(time.Second, nil).Error() == "" || handler.Never(nil).Error() == "" {
		t.Error("a verdict without a cause says nothing")
	}
}

func TestChainSelects(t *testing.T) {
	pr := &event.Event{Receiver: "github", SourceID: "eu", Type: "github.pull_request.opened"}
	for _, c := range []struct {
		name  string
		chain handler.Chain
		want  bool
	}{
		{"everything", handler.Chain{}, true},
		{"its receiver", handler.Chain{From: []string{"stripe", "github"}}, true},
		{"its source", handler.Chain{From: []string{"github/eu"}}, true},
		{"another source of its receiver", handler.Chain{From: []string{"github/us"}}, false},
		{"another receiver", handler.Chain{From: []string{"stripe"}}, false},
		{"its name by a pattern", handler.Chain{Events: []string{"push", "pull_request.*"}}, true},
		{"another name", handler.Chain{Events: []string{"push"}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.chain.Selects(pr); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestChainValidate(t *testing.T) {
	ok := handler.Do(func(context.Context, *event.Event) error { return nil })
	good := handler.Chain{Name: "deploy", Steps: []handler.Step{{Name: "a", Handler: ok}}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*handler.Chain){
		"name":           func(c *handler.Chain) { c.Name = "De.ploy" },
		"no steps":       func(c *handler.Chain) { c.Steps = nil },
		"no handler":     func(c *handler.Chain) { c.Steps = []handler.Step{{Name: "a"}} },
		"same step name": func(c *handler.Chain) { c.Steps = append(c.Steps, c.Steps[0]) },
		"pattern":        func(c *handler.Chain) { c.Events = []string{"a*"} },
		"retry":          func(c *handler.Chain) { c.Retry.Attempts = 3 },
		"concurrency":    func(c *handler.Chain) { c.Concurrency = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			spoil(&c)
			if c.Validate() == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestStepsRunByOrderAndEqualOnesAsTheyStand(t *testing.T) {
	c := handler.Chain{Steps: []handler.Step{{Order: 20, Name: "c"}, {Order: 10, Name: "a"}, {Order: 10, Name: "b"}}}
	var got string
	for _, s := range c.Sorted() {
		got += s.Name
	}
	if got != "abc" {
		t.Errorf("got %s", got)
	}
}
