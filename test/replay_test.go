package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belay-hooks/belay/console"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/worker"
)

// operated is a broker with a console and workers, in this process.
type operated struct {
	t      *testing.T
	broker *stream.Broker
	dir    string // of the broker's data
	url    string
	client *http.Client

	mu   sync.Mutex
	runs map[string]int // of chain and event
	fail map[string]bool
	slow time.Duration
}

func newOperated(t *testing.T, shards int) *operated {
	server := testbroker.Start(t)
	b := server.Connect()
	if err := b.Migrate(t.Context(), stream.Topology{Shards: shards}); err != nil {
		t.Fatal(err)
	}
	o := &operated{t: t, dir: server.Dir(), broker: b, client: &http.Client{Transport: &http.Transport{}}, runs: map[string]int{}, fail: map[string]bool{}}
	t.Cleanup(o.client.CloseIdleConnections)
	o.console()
	return o
}

type runner interface{ Run(context.Context) error }

func (o *operated) run(r runner) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(o.t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.Run(ctx); err != nil {
			o.t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	o.t.Cleanup(stop)
	return stop
}

func (o *operated) console() (stop func()) {
	o.t.Helper()
	s, err := console.New(console.Config{Addr: "127.0.0.1:0"}, o.broker, testbroker.Logger(o.t))
	if err != nil {
		o.t.Fatal(err)
	}
	o.url = "http://" + s.Addr().String()
	return o.run(s)
}

func (o *operated) worker(names ...string) (stop func()) {
	o.t.Helper()
	var chains []handler.Chain
	for _, name := range names {
		chains = append(chains, handler.Chain{Name: name, Steps: []handler.Step{{Name: "h", Order: 1, Handler: handler.HandlerFunc(
			func(ctx context.Context, e *event.Event) (*handler.Response, error) {
				if o.slow > 0 {
					select {
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-time.After(o.slow):
					}
				}
				o.mu.Lock()
				defer o.mu.Unlock()
				o.runs[name+" "+e.ID]++
				if o.fail[e.ID] {
					return nil, handler.Never(errors.New("broken"))
				}
				return nil, nil
			})}}})
	}
	w, err := worker.New(o.t.Context(), worker.Config{Broker: o.broker, Logger: testbroker.Logger(o.t)}, chains...)
	if err != nil {
		o.t.Fatal(err)
	}
	return o.run(w)
}

func (o *operated) store(id, source, name string) {
	o.t.Helper()
	e := &event.Event{ID: id, Source: "/github/" + source, SourceID: source, Receiver: "github", Type: "github." + name, Time: time.Now(), Body: []byte("{}")}
	if _, err := o.broker.StoreEvent(o.t.Context(), e); err != nil {
		o.t.Fatal(err)
	}
}

func (o *operated) call(status int, method, path, body string) map[string]any {
	o.t.Helper()
	r, err := http.NewRequest(method, o.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		o.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := o.client.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != status {
		o.t.Fatalf("%s %s: %d %v, %v; want %d", method, path, response.StatusCode, answer, err, status)
	}
	return answer
}

func (o *operated) handled(chain string) (events, runs int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, n := range o.runs {
		if strings.HasPrefix(key, chain+" ") {
			events++
			runs += n
		}
	}
	return events, runs
}

func (o *operated) until(what string, ok func() bool) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			o.t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

func (o *operated) job(id, state string) (j map[string]any) {
	o.t.Helper()
	o.until("the job to be "+state, func() bool {
		j = o.call(200, "GET", "/v1/replays/"+id, "")
		return j["state"] == state
	})
	return j
}

// consumers counts those of replays.
func (o *operated) consumers() (n int) {
	for shard := range o.broker.Shards() {
		all, err := o.broker.Standings(o.t.Context(), stream.In(shard))
		if err != nil {
			o.t.Fatal(err)
		}
		for _, s := range all {
			if strings.HasPrefix(s.Name, "replay-") {
				n++
			}
		}
	}
	return n
}

// A new chain is given the events of one source and type that were stored before
// it, by two workers, while others come in: each once, and nobody else is touched.
func TestReplay(t *testing.T) {
	t.Parallel()
	o := newOperated(t, 3)
	const events = 200
	o.worker("old")
	for i := range events {
		o.store(fmt.Sprint("eu", i), "eu", "push")
		o.store(fmt.Sprint("us", i), "us", "push")
		o.store(fmt.Sprint("is", i), "eu", "issues.opened")
	}
	o.until("the old chain", func() bool { n, _ := o.handled("old"); return n == 3*events })
	o.mu.Lock()
	o.fail["eu7"] = true
	o.mu.Unlock()
	o.worker("new")
	stop := o.worker("new")
	request := `{"chain":"new","filter":{"source":"github/eu","type":"push"}`
	if got := o.call(200, "POST", "/v1/replays", request+`,"dry_run":true}`); got["total"] != 200.0 {
		t.Errorf("dry run: %v", got)
	}
	if n := o.consumers(); n != 0 {
		t.Errorf("the dry run has left %d consumers", n)
	}
	j := o.call(201, "POST", "/v1/replays", request+"}")
	id := j["id"].(string)
	for i := range 20 {
		o.store(fmt.Sprint("live", i), "eu", "push")
	}
	stop() // one of the two workers goes
	j = o.job(id, "done")
	if j["total"] != 200.0 || j["handled"] != 200.0 {
		t.Errorf("done: %v", j)
	}
	o.until("what came in", func() bool { n, _ := o.handled("new"); return n >= events+20 })
	if n, runs := o.handled("new"); n != events+20 || runs != events+20 {
		t.Errorf("the new chain handled %d events in %d runs, want %d", n, runs, events+20)
	}
	if n, runs := o.handled("old"); n != 3*events+20 || runs != n {
		t.Errorf("the old chain handled %d events in %d runs, want %d", n, runs, 3*events+20)
	}
	o.until("the consumers to go", func() bool { return o.consumers() == 0 })
	letters := o.call(200, "GET", "/v1/deadletters?chain=new", "")["deadletters"].([]any)
	if len(letters) != 1 || letters[0].(map[string]any)["run"] != j["run"] {
		t.Errorf("dead letters of the replay: %v", letters)
	}
	// Once more into the same chain: another run.
	second := o.call(201, "POST", "/v1/replays", request+"}")
	if second["run"] == j["run"] {
		t.Errorf("both replays are run %v", j["run"])
	}
	o.job(second["id"].(string), "done")
	if n, runs := o.handled("new"); n != events+20 || runs != 2*(events+20) {
		t.Errorf("after another replay %d events in %d runs", n, runs)
	}
}

// A replay is paused, goes on though its console and workers are replaced, and can
// be cancelled; no event is handled twice.
func TestReplayIsPausedResumedAndCancelled(t *testing.T) {
	t.Parallel()
	o := newOperated(t, 1)
	const events = 400
	for i := range events {
		o.store(fmt.Sprint("e", i), "eu", "push")
	}
	o.slow = 20 * time.Millisecond
	stop := o.worker("new")
	from := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	id := o.call(201, "POST", "/v1/replays", `{"chain":"new","concurrency":2,"filter":{"from":"`+from+`"}}`)["id"].(string)
	some := func() bool { n, _ := o.handled("new"); return n > 20 }
	o.until("some events", some)
	o.call(200, "POST", "/v1/replays/"+id+"/pause", "")
	before := -1
	o.until("the pause", func() bool {
		n, _ := o.handled("new")
		was := before
		before = n
		select {
		case <-time.After(300 * time.Millisecond):
		case <-t.Context().Done():
		}
		return n == was
	})
	stop()
	o.worker("new")
	o.call(200, "POST", "/v1/replays/"+id+"/resume", "")
	o.until("the resumption", func() bool { n, _ := o.handled("new"); return n > before+20 })
	o.call(200, "POST", "/v1/replays/"+id+"/cancel", "")
	o.until("the consumers to go", func() bool { return o.consumers() == 0 })
	n, runs := o.handled("new")
	if n == events || n != runs {
		t.Errorf("%d events in %d runs", n, runs)
	}
}
