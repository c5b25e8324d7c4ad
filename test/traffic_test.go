package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/pkg/webhook"
)

const (
	githubSecret = "a secret of GitHub's"
	stripeSecret = "whsec_a_secret_of_Stripes"
	apiKey       = "a-key-of-the-tests"
	// senders is how many providers send at once, and concurrency how many events
	// the chain handles at once, deliveries how many the outbox makes at once.
	senders     = 32
	concurrency = 16
	deliveries  = 64
)

// configuration has a source of each provider and a chain that forwards what
// comes and then tells subscribers. Its handlers stand in the wrong order: order
// counts.
const configuration = `sources:
  - receiver: github
    secrets: [env:GITHUB_WEBHOOK_SECRET]
  - receiver: stripe
    id: eu
    secrets: ["file:%s"]
chains:
  - name: deploy
    from: [github, stripe/eu]
    start: earliest
    concurrency: %d
    handlers:
      - {order: 20, name: announce, notify: {type: deploy.requested}}
      - {order: 10, name: forward, http: {url: "%s", timeout: 20s}}
`

// traffic is a lot of webhooks and what became of each: a provider's end, the
// handler's and the subscriber's.
type traffic struct {
	t       *testing.T
	ingress string // where it is sent to
	secret  webhook.Secret
	handler *httptest.Server
	target  *httptest.Server

	mu        sync.Mutex
	byBody    map[[sha256.Size]byte]string // delivery id by the hash of the body
	requests  int
	accepted  map[string]bool
	handled   map[string]int
	delivered map[string]int

	sending sync.WaitGroup
	queue   chan webhookOut
}

// webhookOut is one webhook as its provider sends it.
type webhookOut struct {
	source *receiver.Source
	path   string
	id     string
	header map[string]string
	body   []byte
}

func newTraffic(t *testing.T, ingress string) *traffic {
	x := &traffic{
		t: t, ingress: ingress, secret: webhook.NewSecret(),
		byBody:   make(map[[sha256.Size]byte]string),
		accepted: make(map[string]bool), handled: make(map[string]int), delivered: make(map[string]int),
		queue: make(chan webhookOut),
	}
	x.handler = httptest.NewServer(http.HandlerFunc(x.handle))
	x.target = httptest.NewServer(http.HandlerFunc(x.deliver))
	t.Cleanup(x.handler.Close)
	t.Cleanup(x.target.Close)
	for range senders {
		x.sending.Go(func() {
			client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for w := range x.queue {
				x.send(client, w)
			}
		})
	}
	return x
}

// writeConfiguration writes the file and returns its path.
func (x *traffic) writeConfiguration(dir string) string {
	x.t.Helper()
	secret, config := filepath.Join(dir, "stripe-eu"), filepath.Join(dir, "belay.yaml")
	text := fmt.Sprintf(configuration, secret, concurrency, x.handler.URL+"/hook")
	for path, content := range map[string]string{secret: stripeSecret + "\n", config: text} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			x.t.Fatal(err)
		}
	}
	return config
}

// webhooks makes n genuine webhooks. What tells them apart is the delivery id,
// and in GitHub's one added field, by which a body is known at the other end.
func (x *traffic) webhooks(n int) []webhookOut {
	x.t.Helper()
	var files []string
	for _, provider := range []string{"github", "stripe"} {
		found, err := filepath.Glob("../pkg/receiver/testdata/" + provider + "/*.json")
		if err != nil || len(found) == 0 {
			x.t.Fatalf("payloads of %s: %v, %v", provider, found, err)
		}
		files = append(files, found...)
	}
	sources := map[string]*receiver.Source{
		"github": newSource(x.t, receiver.SourceConfig{Receiver: "github", Secrets: []receiver.Secret{inline(githubSecret)}}),
		"stripe": newSource(x.t, receiver.SourceConfig{Receiver: "stripe", ID: "eu", Secrets: []receiver.Secret{inline(stripeSecret)}}),
	}
	var all []webhookOut
	for i := 0; len(all) < n; i++ {
		file := files[i%len(files)]
		provider, name := filepath.Base(filepath.Dir(file)), strings.TrimSuffix(filepath.Base(file), ".json")
		if name == "ping" {
			continue // is answered and not stored
		}
		body, err := os.ReadFile(file)
		if err != nil {
			x.t.Fatal(err)
		}
		w := webhookOut{source: sources[provider]}
		switch provider {
		case "github":
			w.id, w.path = event.NewID(), "/webhooks/github"
			kind, _, _ := strings.Cut(name, ".")
			w.header = map[string]string{"X-GitHub-Event": kind, "X-GitHub-Delivery": w.id}
			w.body = bytes.Replace(body, []byte("{"), []byte(`{"delivery":"`+w.id+`",`), 1)
		case "stripe":
			var object struct{ ID string }
			if err := json.Unmarshal(body, &object); err != nil {
				x.t.Fatal(err)
			}
			w.id, w.path = "evt_"+strings.ReplaceAll(event.NewID(), "-", ""), "/webhooks/stripe/eu"
			w.body = bytes.Replace(body, []byte(object.ID), []byte(w.id), 1)
		}
		x.byBody[sha256.Sum256(w.body)] = w.id
		all = append(all, w)
	}
	return all
}

// inline is a secret.
type inline string

func (s inline) Value() (string, error) { return string(s), nil }

func newSource(t *testing.T, c receiver.SourceConfig) *receiver.Source {
	t.Helper()
	s, err := receiver.NewSource(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// send sends a webhook as its provider does: again and again, with the same id,
// until it is accepted.
func (x *traffic) send(client *http.Client, w webhookOut) {
	const pause = 50 * time.Millisecond
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(pause) {
		r, err := http.NewRequestWithContext(x.t.Context(), http.MethodPost, x.ingress+w.path, bytes.NewReader(w.body))
		if err != nil {
			x.t.Error(err)
			return
		}
		r.Header.Set("Content-Type", "application/json")
		for name, value := range w.header {
			r.Header.Set(name, value)
		}
		if _, err := w.source.Sign(r, w.body, time.Now()); err != nil {
			x.t.Error(err)
			return
		}
		x.mu.Lock()
		x.requests++
		x.mu.Unlock()
		resp, err := client.Do(r)
		if err != nil {
			continue // nobody there, or it was killed with our request in its hands
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		switch {
		case resp.StatusCode/100 == 2:
			x.mu.Lock()
			x.accepted[w.id] = true
			x.mu.Unlock()
			return
		case resp.StatusCode != http.StatusServiceUnavailable:
			x.t.Errorf("%s was answered %s", w.id, resp.Status)
			return
		}
	}
	x.t.Errorf("%s was not accepted within %v", w.id, patience)
}

// sent tells which webhook has this body; nothing else may arrive anywhere.
func (x *traffic) sent(r *http.Request) (id string, body []byte) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", nil // the other end was killed
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	id, ok := x.byBody[sha256.Sum256(body)]
	if !ok {
		x.t.Errorf("%s received what nobody sent: %.200q", r.URL.Path, body)
	}
	return id, body
}

// handle is what the http handler of the chain forwards to.
func (x *traffic) handle(w http.ResponseWriter, r *http.Request) {
	id, _ := x.sent(r)
	if id == "" {
		return
	}
	if got := r.Header.Get("Belay-Event-Id"); got != id {
		x.t.Errorf("the handler got the body of %s as the event %s", id, got)
	}
	// It takes its time, so that whoever is killed has some in hand.
	<-time.After(5 * time.Millisecond)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.handled[id]++
}

// deliver is the subscriber.
func (x *traffic) deliver(w http.ResponseWriter, r *http.Request) {
	id, body := x.sent(r)
	if id == "" {
		return
	}
	if err := webhook.Verify(r.Header, body, time.Now(), webhook.Tolerance, x.secret); err != nil {
		x.t.Errorf("a delivery of %s: %v", id, err)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	<-time.After(5 * time.Millisecond)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.handled[id] == 0 {
		x.t.Errorf("%s was delivered before its handler ran", id)
	}
	x.delivered[id]++
	w.WriteHeader(http.StatusNoContent)
}

// subscribe registers the subscriber by the API of the outbox.
func (x *traffic) subscribe(outbox string) {
	x.t.Helper()
	body, err := json.Marshal(map[string]any{"url": x.target.URL + "/subscriber", "filters": []string{"deploy.*"}, "secret": x.secret.Reveal()})
	if err != nil {
		x.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(x.t.Context(), http.MethodPost, outbox+"/v1/subscriptions", bytes.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+apiKey)
	r.Header.Set("Content-Type", "application/json")
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusCreated {
		x.t.Fatalf("the subscription was answered %s: %s", resp.Status, answer)
	}
}

// A blow is struck at somebody in the middle of its work.
type blow struct {
	at     func(*traffic) int // its work: how much is done
	strike func()
}

// What is counted of different webhooks.
func accepted(x *traffic) int  { return count(x, x.accepted) }
func handled(x *traffic) int   { return count(x, x.handled) }
func delivered(x *traffic) int { return count(x, x.delivered) }

// run sends n webhooks, each blow's share of them after the blow before, and
// strikes when half of the share is done. It returns once all are accepted,
// handled and delivered.
func (x *traffic) run(n int, blows ...blow) {
	x.t.Helper()
	shares := slices.Collect(slices.Chunk(x.webhooks(n), n/len(blows)))
	for i, b := range blows {
		fed := make(chan struct{})
		go func() {
			defer close(fed)
			for _, w := range shares[i] {
				x.queue <- w
			}
		}()
		half := i*n/len(blows) + n/len(blows)/2
		waitFor(x.t, "half of a share to be done", func() bool { return b.at(x) >= half })
		b.strike()
		<-fed
	}
	close(x.queue)
	x.sending.Wait()
	waitFor(x.t, "what was accepted to be handled and delivered", func() bool {
		return handled(x) == n && delivered(x) == n || x.t.Failed()
	})
}

func count[V any](x *traffic, of map[string]V) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(of)
}

// repeated is how often something was handled, and delivered, that had been.
func (x *traffic) repeated() (handled, delivered int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, n := range x.handled {
		handled += n - 1
	}
	for _, n := range x.delivered {
		delivered += n - 1
	}
	return handled, delivered
}

// check holds the outcome to the guarantees, and logs the counts.
func (x *traffic) check(broker *stream.Broker, sent int, blows string) {
	x.t.Helper()
	handledAgain, deliveredAgain := x.repeated()
	x.t.Logf("%s: %d webhooks in %d requests, %d accepted; handled %d distinct, %d in all; delivered %d distinct, %d in all",
		blows, sent, x.requests, accepted(x), handled(x), handled(x)+handledAgain, delivered(x), delivered(x)+deliveredAgain)
	if n := accepted(x); n != sent {
		x.t.Errorf("%d of %d webhooks were accepted", n, sent)
	}
	for id := range x.accepted {
		if x.handled[id] == 0 || x.delivered[id] == 0 {
			x.t.Errorf("%s was accepted, then handled %d and delivered %d times", id, x.handled[id], x.delivered[id])
		}
	}
	x.checkStored(broker)
}

// checkStored wants each accepted webhook in the store once, byte for byte, and
// no dead letters.
func (x *traffic) checkStored(broker *stream.Broker) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	if err := broker.Open(ctx); err != nil {
		x.t.Fatal(err)
	}
	stored := make(map[string]int)
	for shard := range broker.Shards() {
		last, err := broker.Last(ctx, stream.In(shard), "belay.in.>")
		if errors.Is(err, stream.ErrNotFound) {
			continue // the few keys of the payloads lie in other shards
		}
		if err != nil {
			x.t.Fatal(err)
		}
		for seq := uint64(1); seq <= last.Seq; seq++ {
			m, err := broker.Get(ctx, stream.In(shard), seq)
			if err != nil {
				x.t.Fatal(err)
			}
			e, err := event.Decode(m.Header, m.Data)
			if err != nil {
				x.t.Fatal(err)
			}
			stored[e.ID]++
			if want := x.byBody[sha256.Sum256(e.Body)]; e.ID != want {
				x.t.Errorf("the event %s is stored with the body of %q", e.ID, want)
			}
		}
	}
	for id := range x.accepted {
		if stored[id] != 1 {
			x.t.Errorf("%s is stored %d times", id, stored[id])
		}
	}
	if len(stored) != len(x.accepted) {
		x.t.Errorf("%d events are stored of %d accepted ones", len(stored), len(x.accepted))
	}
	if letter, err := broker.Last(ctx, stream.Dead, "belay.dead.>"); !errors.Is(err, stream.ErrNotFound) {
		x.t.Errorf("a dead letter: %+v, %v", letter, err)
	}
}
