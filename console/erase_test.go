package console_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

const windowInTest = 200 * time.Millisecond

// newForgetful is a broker that forgets at once which ids it has had.
func newForgetful(t *testing.T) *stream.Broker {
	t.Helper()
	b := testbroker.Start(t).Connect()
	if err := b.Migrate(t.Context(), stream.Topology{Shards: 1, Window: windowInTest}); err != nil {
		t.Fatal(err)
	}
	return b
}

// storeAgain stores an event that may have been stored before, once the window has
// forgotten it.
func storeAgain(t *testing.T, b *stream.Broker, id, key string) (seq uint64) {
	t.Helper()
	for {
		receipt, err := b.StoreEvent(t.Context(), &event.Event{
			ID: id, Source: "/github/default", Type: "github.push", Receiver: "github", SourceID: "default", Key: key,
			Time: time.Now(), Body: []byte(`{"name":"Ann"}`),
		})
		if err != nil {
			t.Fatal(err)
		}
		if !receipt.Duplicate {
			return receipt.Seq
		}
		<-time.After(windowInTest)
	}
}

func stored(t *testing.T, b *stream.Broker) (n uint64) {
	t.Helper()
	n, err := b.Count(t.Context(), stream.Range{Stream: stream.In(0)})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What a provider has sent several times is erased as often.
func TestEraseOfAnEventThatCameAgain(t *testing.T) {
	b := newForgetful(t)
	d := newDesk(t, b)
	storeAgain(t, b, "e", "one")
	storeAgain(t, b, "other", "")
	storeAgain(t, b, "e", "")
	storeAgain(t, b, "e", "")
	if n := stored(t, b); n != 4 {
		t.Fatalf("%d are stored", n)
	}
	got := d.want(http.StatusOK, "POST", "/v1/events/github/default/e/erase", `{"why":"a request"}`)
	if got["done"] != true || got["messages"] != 3.0 {
		t.Errorf("the tombstone: %v", got)
	}
	if n := stored(t, b); n != 1 {
		t.Errorf("%d are stored, want the other one alone", n)
	}
	d.want(http.StatusGone, "GET", "/v1/events/github/default/e", "")
	d.want(http.StatusOK, "GET", "/v1/events/github/default/other", "")

	storeAgain(t, b, "e", "")
	if got := d.want(http.StatusOK, "GET", "/v1/events/github/default/e", ""); got["id"] != "e" {
		t.Errorf("the one that came after: %v", got)
	}
}

// An erasure that was cut goes on where it was, though the event has come again.
func TestEraseThatWasCutGoesOn(t *testing.T) {
	b := newForgetful(t)
	d := newDesk(t, b)
	storeAgain(t, b, "e", "")
	seq := storeAgain(t, b, "e", "")
	bury(t, b, "c", seq, "e", "push", "too_old")
	name := sha256.Sum256([]byte("github/default/e"))
	// As a console that died after it had erased the event has left it.
	tomb := fmt.Sprintf(`{"receiver":"github","source_id":"default","id":"e","erased_by":"ann","erased":"2026-11-22T10:00:00Z","shard":0,"seq":%d}`, seq)
	if _, err := b.Bucket(stream.State).Put(t.Context(), "erased."+hex.EncodeToString(name[:16]), []byte(tomb)); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), &stream.Stored{Stream: stream.In(0), Seq: seq}, true); err != nil {
		t.Fatal(err)
	}
	if got := d.want(http.StatusOK, "POST", "/v1/events/github/default/e/erase", ""); got["done"] != true {
		t.Errorf("the tombstone: %v", got)
	}
	if left := ids(d.want(http.StatusOK, "GET", "/v1/deadletters", "")); len(left) != 0 || stored(t, b) != 0 {
		t.Errorf("dead letters %v and %d events are left", left, stored(t, b))
	}
}

// Of several turns that are due all are erased.
func TestEraseOfAllTurns(t *testing.T) {
	b := testbroker.New(t)
	d := newDesk(t, b)
	place := stream.Place{Seq: storeAgain(t, b, "e", "")}
	for turn := range 2 {
		m := standing.Turn("c", place, standing.Progress{Turn: turn + 1}, &event.Event{ID: "e", Source: "/github/default", Type: "github.push"}, "")
		if _, err := b.Publish(context.WithoutCancel(t.Context()), m); err != nil {
			t.Fatal(err)
		}
	}
	d.want(http.StatusOK, "POST", "/v1/events/github/default/e/erase", "")
	if parked, err := b.Subjects(t.Context(), stream.Retry, stream.RetryDueAll("c")); err != nil || len(parked) != 0 {
		t.Errorf("still parked: %v, %v", parked, err)
	}
}

// The notifications of a chain that was deleted since are erased too.
func TestEraseOfWhatADeletedChainHasTold(t *testing.T) {
	b := testbroker.New(t)
	d := newDesk(t, b)
	ensureChain(t, b, "old")
	seq := storeAgain(t, b, "e", "")
	told := &event.Event{ID: "e", Source: "/github/default", Chain: "old", Handler: "tell"}
	for _, id := range []string{told.IdempotencyKey(), "of somebody else"} {
		n := &event.Event{ID: id, Source: "/chains/old", Type: "told", Tenant: "default", Time: time.Now(), Body: []byte(`{"name":"Ann"}`)}
		if _, err := b.StoreEvent(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	record := fmt.Sprintf(`[{"seq":%d,"outcome":"done","steps":[{"name":"tell"}]}]`, seq)
	if _, err := b.Publish(t.Context(), stream.Message{Subject: stream.DoneSubject("old", 0), Data: []byte(record)}); err != nil {
		t.Fatal(err)
	}
	d.want(http.StatusOK, "DELETE", "/v1/chains/old", "")
	d.want(http.StatusOK, "POST", "/v1/events/github/default/e/erase", "")
	if n, err := b.Count(t.Context(), stream.Range{Stream: stream.Notify}); err != nil || n != 1 {
		t.Errorf("%d notifications are left, want the other one alone, %v", n, err)
	}
}
