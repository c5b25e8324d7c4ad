package test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/belay-hooks/belay/outbox"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// A broker that is killed hands out again, as if it was new, what was acknowledged
// last. What was posted and recorded is not posted again all the same, and every
// delivery is posted.
func TestBrokerKilledWhileDelivering(t *testing.T) {
	t.Parallel()
	const kills = 4
	dir, addr := t.TempDir(), freeAddr(t)
	conf := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("listen: %q\njetstream {\n  store_dir: %q\n}\n", addr, filepath.Join(dir, "nats"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	nats := &program{t: t, name: "nats-server", path: filepath.Join(buildPrograms(t), "nats-server"), args: []string{"-c", conf}}
	nats.run()
	broker, err := stream.Connect(stream.Config{URL: "nats://" + addr, Name: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	waitFor(t, "the broker", func() bool { return broker.Ready(t.Context()) == nil })
	if err := broker.Migrate(t.Context(), stream.Topology{Shards: 2}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	posts := map[string]int{}
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if posts[r.Header.Get("webhook-id")]++; strings.HasSuffix(r.URL.Path, "/fails") {
			w.WriteHeader(http.StatusBadRequest) // its breaker stays closed
		}
	}))
	defer sink.Close()
	counts := func() (deliveries, all int) {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range posts {
			all += n
		}
		return len(posts), all
	}

	out, err := outbox.New(outbox.Config{
		Addr: "127.0.0.1:0", APIKeys: []string{apiKey}, Dev: true, Concurrency: 64,
	}, broker, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := out.Run(serving); err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer stop()
	for _, body := range []string{
		`{"url":"` + sink.URL + `/takes"}`,
		`{"url":"` + sink.URL + `/fails","schedule":["1h"]}`,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+out.Addr().String()+"/v1/subscriptions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+apiKey)
		r.Header.Set("Content-Type", "application/json")
		resp, err := (&http.Client{Timeout: patience}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			t.Fatal(resp.Status)
		}
	}

	publishing, end := context.WithCancel(t.Context())
	published := 0
	var publisher sync.WaitGroup
	publisher.Go(func() {
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		for ; publishing.Err() == nil; published++ {
			e := &event.Event{ID: strconv.Itoa(published), Source: "/test", Type: "t", Tenant: "default", Time: time.Now(), Body: []byte("1")}
			if err := stream.WaitOut(t.Context(), func() error { _, err := broker.StoreEvent(t.Context(), e); return err }); err != nil {
				t.Error(err)
				return
			}
			<-ticker.C
		}
	})
	for kill := range kills {
		want := (kill + 1) * 600
		waitFor(t, "deliveries", func() bool { n, _ := counts(); return n >= want })
		nats.kill()
		nats.start()
	}
	end()
	publisher.Wait()
	waitFor(t, "all deliveries to be posted", func() bool { n, _ := counts(); return n >= 2*published })
	waitFor(t, "all deliveries to be settled", func() bool {
		for shard := range 2 {
			if _, err := broker.Last(t.Context(), stream.Out(shard), stream.OutDue(shard, "*", "*")); err == nil {
				return false
			}
		}
		return true
	})
	deliveries, all := counts()
	t.Logf("%d notifications, %d deliveries, %d posts, %d kills", published, deliveries, all, kills)
	if deliveries != 2*published {
		t.Errorf("%d deliveries of %d notifications for 2 subscriptions", deliveries, published)
	}
	// What was under way when the broker died may be posted again.
	if again := all - deliveries; again > 2*kills {
		t.Errorf("%d were posted again", again)
	}
}
