package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	sdk "github.com/belay-hooks/belay/pkg/client"
)

// The Go client does all that the API can.
func TestClient(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	ctx := t.Context()
	got := make(chan string, 4)
	url := sink(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprint(w, r.URL.Query().Get("echo"))
			return
		}
		got <- r.Header.Get("X-A")
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sdk.New("localhost:8081", ""); err == nil {
		t.Error("a URL without a scheme")
	}
	operator, err := sdk.New(o.url+"/", "key-a")
	must(err)
	key, err := operator.In("acme").CreateKey(ctx, "write", "x")
	must(err)
	eventually(t, "the key is known", func() bool { return o.server.ring.size() == 1 })
	c, err := sdk.New(o.url, key.Key)
	must(err)
	sub, err := c.Create(ctx, sdk.Settings{
		URL: url, Filters: []string{"a.*"}, Headers: map[string]string{"X-A": "b"}, Schedule: []string{},
		Properties: map[string]json.RawMessage{"p": json.RawMessage("1")},
	})
	must(err)
	if sub.Tenant != "acme" || sub.Secret == "" || sub.Schedule == nil || string(sub.Properties["p"]) != "1" {
		t.Errorf("created %+v", sub)
	}
	must(c.Verify(ctx, sub.ID))
	if tested, err := c.Test(ctx, sub.ID, "x", json.RawMessage(`{}`)); err != nil || tested.Status != 200 || <-got != "b" {
		t.Errorf("tested %+v, %v", tested, err)
	}
	if s, err := c.Pause(ctx, sub.ID); err != nil || !s.Paused {
		t.Errorf("paused %+v, %v", s, err)
	}
	if s, err := c.Resume(ctx, sub.ID); err != nil || s.Paused {
		t.Errorf("resumed %+v, %v", s, err)
	}
	if s, err := c.Rotate(ctx, sub.ID, time.Hour); err != nil || s.Secret == sub.Secret || len(s.Secrets) != 2 {
		t.Errorf("rotated %+v, %v", s, err)
	}
	if s, err := c.Patch(ctx, sub.ID, map[string]any{"when": "body.n == 1", "schedule": nil}); err != nil || s.When == "" || s.Schedule != nil {
		t.Errorf("patched %+v, %v", s, err)
	}
	n := sdk.Notification{ID: "1", Source: "/t", Type: "a.b", Data: json.RawMessage(`{"n":1}`)}
	for _, want := range []bool{false, true} {
		if duplicate, err := c.Notify(ctx, n); err != nil || duplicate != want {
			t.Errorf("notified: %v, %v", duplicate, err)
		}
	}
	if value := <-got; value != "b" {
		t.Errorf("delivered with %q", value)
	}
	if keys, err := operator.In("acme").Keys(ctx); err != nil || len(keys) != 1 || keys[0].Key != "" {
		t.Errorf("keys %+v, %v", keys, err)
	}
	for range 3 {
		_, err := c.Create(ctx, sdk.Settings{URL: url})
		must(err)
	}
	count := 0
	for s, err := range c.Subscriptions(ctx) {
		must(err)
		again, err := c.Get(ctx, s.ID)
		if must(err); again.ID != s.ID {
			t.Errorf("got %+v", again)
		}
		count++
		must(c.Delete(ctx, s.ID))
	}
	if count != 4 {
		t.Errorf("listed %d", count)
	}
	var problem *sdk.Problem
	if _, err := c.Create(ctx, sdk.Settings{URL: "ftp://x"}); !errors.As(err, &problem) || problem.Status != 422 || problem.Errors[0].Pointer != "#/url" {
		t.Errorf("a problem: %v", err)
	}
	if _, err := c.Keys(ctx); !errors.As(err, &problem) || problem.Status != http.StatusForbidden {
		t.Errorf("keys by a tenant: %v", err)
	}
	must(operator.In("acme").RevokeKey(ctx, key.ID))
}
