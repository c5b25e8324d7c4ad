package outbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/belay-hooks/belay/internal/localnats"
	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long tests wait for what must come.
const patience = 20 * time.Second

// syncBuffer is a log that many goroutines write to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// house is a broker with outboxes on it.
type house struct {
	t      testing.TB
	server *localnats.Server
	broker *stream.Broker
	log    *syncBuffer
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, log: &syncBuffer{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(h.log.String())
		}
	})
	log := slog.New(slog.NewTextHandler(h.log, nil))
	var err error
	h.server, err = localnats.Start(t.Context(), localnats.Config{Dir: t.TempDir(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.server.Stop)
	h.broker, err = stream.Connect(stream.Config{Name: "outbox", InProcess: h.server, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.broker.Close)
	if err := h.broker.Migrate(t.Context(), stream.Topology{Shards: 2}); err != nil {
		t.Fatal(err)
	}
	return h
}

// outbox is a running outbox and a caller of its API.
type outbox struct {
	*house
	server   *Server
	registry *prometheus.Registry
	url      string
	stop     func()
}

func (h *house) run(edit func(c *Config)) *outbox {
	h.t.Helper()
	c := Config{Addr: "127.0.0.1:0", APIKeys: []string{"key-a", "other=key-b"}, Dev: true, Timeout: 5 * time.Second}
	if edit != nil {
		edit(&c)
	}
	registry := prometheus.NewRegistry()
	s, err := New(c, h.broker, slog.New(slog.NewTextHandler(h.log, nil)), registry)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				h.t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			h.t.Error("the outbox does not stop")
		}
	})
	h.t.Cleanup(stop)
	return &outbox{house: h, server: s, registry: registry, url: "http://" + s.Addr().String(), stop: stop}
}

// fanout is one like that of the outbox.
func (o *outbox) fanout() *fanout {
	o.t.Helper()
	_, send, err := o.server.consumers(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	return o.server.fanout(send)
}

// reply is what the API answered.
type reply struct {
	*http.Response
	body []byte
}

func (r reply) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
}

func (r reply) problem(t *testing.T) rest.Problem {
	t.Helper()
	if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q, body %s", got, r.body)
	}
	var p rest.Problem
	r.into(t, &p)
	if p.Status != r.StatusCode || p.Title == "" || p.Detail == "" {
		t.Errorf("an incomplete problem: %s", r.body)
	}
	return p
}

var testClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

func (o *outbox) do(method, path, key string, header http.Header, body string) reply {
	o.t.Helper()
	r, err := http.NewRequestWithContext(o.t.Context(), method, o.url+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := testClient.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return reply{response, data}
}

var jsonBody = http.Header{"Content-Type": {"application/json"}}

func (o *outbox) subscribe(key string, request any) (sub Subscription, secret string) {
	o.t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		o.t.Fatal(err)
	}
	r := o.do(http.MethodPost, "/v1/subscriptions", key, jsonBody, string(body))
	if r.StatusCode != http.StatusCreated {
		o.t.Fatalf("create: %d %s", r.StatusCode, r.body)
	}
	var got struct {
		Subscription
		Secret string
	}
	r.into(o.t, &got)
	return got.Subscription, got.Secret
}

var structured = http.Header{"Content-Type": {"application/cloudevents+json"}}

func (o *outbox) notify(key, id, eventType, data string) {
	o.t.Helper()
	body := `{"specversion":"1.0","id":"` + id + `","source":"/test","type":"` + eventType + `","data":` + data + `}`
	if r := o.do(http.MethodPost, "/v1/notifications", key, structured, body); r.StatusCode != http.StatusAccepted {
		o.t.Fatalf("notify: %d %s", r.StatusCode, r.body)
	}
}

// post is a request that a subscriber got.
type post struct {
	path   string
	header http.Header
	body   []byte
}

// subscriber is somebody's server. It answers each request as the test says.
type subscriber struct {
	*httptest.Server
	posts chan post
}

func newSubscriber(t testing.TB, answer http.HandlerFunc) *subscriber {
	t.Helper()
	s := &subscriber{posts: make(chan post, 10_000)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s.posts <- post{path: r.URL.Path, header: r.Header.Clone(), body: body}
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *subscriber) next(t testing.TB) post {
	t.Helper()
	select {
	case p := <-s.posts:
		return p
	case <-time.After(patience):
		t.Fatal("nothing was posted")
		return post{}
	}
}

// none fails if something was posted. It is asked after all that is due was
// seen to be settled.
func (s *subscriber) none(t *testing.T) {
	t.Helper()
	select {
	case p := <-s.posts:
		t.Errorf("posted without need: %s %v", p.path, p.header)
	default:
	}
}

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// messages are all that a stream of limits holds.
func (h *house) messages(name string) []*stream.Stored {
	h.t.Helper()
	var all []*stream.Stored
	for seq := uint64(1); ; seq++ {
		m, err := h.broker.Get(h.t.Context(), name, seq)
		if errors.Is(err, stream.ErrNotFound) {
			return all
		}
		if err != nil {
			h.t.Fatal(err)
		}
		all = append(all, m)
	}
}

// attempts waits for n recorded attempts and returns them.
func (h *house) attempts(n int) []attempt {
	h.t.Helper()
	eventually(h.t, "the attempts are recorded", func() bool { return len(h.messages(stream.Attempts)) >= n })
	var all []attempt
	for _, m := range h.messages(stream.Attempts) {
		a, err := readAttempt(m)
		if err != nil {
			h.t.Fatal(err)
		}
		all = append(all, *a)
	}
	if len(all) != n {
		h.t.Fatalf("%d attempts are recorded, want %d: %+v", len(all), n, all)
	}
	return all
}

// attemptOf waits for an attempt of a subscription's delivery.
func (h *house) attemptOf(subscription string) (a attempt) {
	h.t.Helper()
	eventually(h.t, "the attempt is recorded", func() bool {
		m, err := h.broker.Last(h.t.Context(), stream.Attempts, stream.AttemptSubject("*", subscription, "*"))
		if err != nil {
			return false
		}
		got, err := readAttempt(m)
		if err == nil {
			a = *got
		}
		return err == nil
	})
	return a
}

// settled waits until no delivery is due or parked and no cursor is left.
func (h *house) settled() {
	h.t.Helper()
	eventually(h.t, "all deliveries are settled", func() bool {
		for shard := range h.broker.Shards() {
			if _, err := h.broker.Last(h.t.Context(), stream.Out(shard), "belay.out.>"); !errors.Is(err, stream.ErrNotFound) {
				return false
			}
		}
		return true
	})
}

// fanoutRecords are the groups of records of notifications that are fanned out.
func (h *house) fanoutRecords() (groups [][]stream.Record) {
	h.t.Helper()
	for _, m := range h.messages(stream.Done) {
		if m.Subject != stream.DoneSubject(fanoutLedger, 0) {
			continue
		}
		var group []stream.Record
		if err := json.Unmarshal(m.Data, &group); err != nil {
			h.t.Fatal(err)
		}
		groups = append(groups, group)
	}
	return groups
}

// fannedOut waits until n notifications are recorded as fanned out.
func (h *house) fannedOut(n int) {
	h.t.Helper()
	eventually(h.t, "notifications are fanned out", func() bool {
		return len(slices.Concat(h.fanoutRecords()...)) >= n
	})
}
