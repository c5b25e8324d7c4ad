package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

// holds tells which files of a directory hold a text.
func holds(t *testing.T, dir, text string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if bytes.Contains(data, []byte(text)) {
			files = append(files, strings.TrimPrefix(path, dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Nothing of the body of an erased event is left on the broker's disk: in parts or
// not, as a dead letter, as one that was closed, as a notification.
func TestErase(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 2 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			o := newOperated(t, 1)
			const secret = "the-name-of-a-person"
			notify := handler.HandlerFunc(func(ctx context.Context, e *event.Event) (*handler.Response, error) {
				n := &event.Event{ID: e.IdempotencyKey(), Source: "/chains/c", Type: "made", Tenant: "default", Time: time.Now(), Body: e.Body}
				_, err := o.broker.StoreEvent(ctx, n)
				return nil, err
			})
			fail := handler.HandlerFunc(func(context.Context, *event.Event) (*handler.Response, error) {
				return nil, handler.Never(errors.New("broken"))
			})
			w, err := worker.New(t.Context(), worker.Config{Broker: o.broker, Logger: testbroker.Logger(t)},
				handler.Chain{Name: "c", Steps: []handler.Step{{Name: "n", Order: 1, Handler: notify}, {Name: "f", Order: 2, Handler: fail}}})
			if err != nil {
				t.Fatal(err)
			}
			o.run(w)
			body := secret + strings.Repeat(" "+secret, size/len(secret))
			for _, id := range []string{"a/b c", "other"} {
				e := &event.Event{ID: id, Source: "/github/eu", SourceID: "eu", Receiver: "github", Type: "github.push", Key: "k", Time: time.Now()}
				if e.Body = []byte("harmless"); id != "other" {
					e.Body = []byte(body)
				}
				if _, err := o.broker.StoreEvent(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			letters := func(state string) []any {
				return o.call(200, "GET", "/v1/deadletters?order=oldest&state="+state, "")["deadletters"].([]any)
			}
			o.until("the dead letters", func() bool { return len(letters("open")) == 2 })
			for _, l := range letters("open") {
				l := l.(map[string]any)
				if l["event"].(map[string]any)["id"] == "a/b c" {
					o.call(200, "POST", "/v1/deadletters/"+l["id"].(string)+"/redrive", "")
				}
			}
			o.until("the second letter", func() bool { return len(letters("open")) == 2 && len(letters("closed")) == 1 })
			shown := o.call(200, "GET", "/v1/events/github/eu/a%2Fb%20c", "")
			if got := shown["chains"].([]any)[0].(map[string]any); got["state"] != "dead" || len(got["deadletters"].([]any)) != 1 {
				t.Errorf("shown: %v", got)
			}
			if len(holds(t, o.dir, secret)) == 0 {
				t.Fatal("the test looks for what was never there")
			}
			got := o.call(200, "POST", "/v1/events/github/eu/a%2Fb%20c/erase", `{"why":"a request"}`)
			if got["why"] != "a request" || got["erased_by"] != "local" || got["messages"].(float64) < 4 {
				t.Errorf("the tombstone: %v", got)
			}
			o.call(410, "GET", "/v1/events/github/eu/a%2Fb%20c", "")
			o.call(200, "POST", "/v1/events/github/eu/a%2Fb%20c/erase", "")
			o.call(404, "POST", "/v1/events/github/eu/none/erase", "")
			if len(letters("open")) != 1 || len(letters("closed")) != 0 {
				t.Errorf("dead letters: open %v, closed %v", letters("open"), letters("closed"))
			}
			left := holds(t, o.dir, secret)
			for _, file := range left {
				// What was parked and came back is free room that the broker has not
				// written over yet.
				if !strings.Contains(file, "/"+stream.Retry+"/") {
					t.Errorf("%s still holds the body", file)
				}
			}
			o.call(200, "GET", "/v1/events/github/eu/other", "")
		})
	}
}
