package stream_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/stream"
)

func TestBucket(t *testing.T) {
	server := testbroker.Start(t)
	b := server.Connect()
	ctx := t.Context()
	if err := b.Migrate(ctx, stream.Topology{}); err != nil {
		t.Fatal(err)
	}
	bucket := b.Bucket(stream.Subscriptions)
	if _, err := bucket.Get(ctx, "a.1"); !errors.Is(err, stream.ErrNotFound) {
		t.Errorf("missing key: %v", err)
	}
	rev, err := bucket.Create(ctx, "a.1", []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Create(ctx, "a.1", []byte("again")); !errors.Is(err, stream.ErrConflict) {
		t.Errorf("create of a key that exists: %v", err)
	}
	if _, err := bucket.Update(ctx, "a.1", []byte("two"), rev+7); !errors.Is(err, stream.ErrConflict) {
		t.Errorf("update at a wrong revision: %v", err)
	}
	if _, err := bucket.Update(ctx, "a.1", []byte("two"), rev); err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	state, resets := map[string]string{}, 0
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		bucket.Watch(ctx, stream.Watcher{
			Reset: func(all []stream.Entry) {
				mu.Lock()
				defer mu.Unlock()
				clear(state)
				resets++
				for _, e := range all {
					state[e.Key] = string(e.Value)
				}
			},
			Put:    func(e stream.Entry) { mu.Lock(); defer mu.Unlock(); state[e.Key] = string(e.Value) },
			Delete: func(key string, _ uint64) { mu.Lock(); defer mu.Unlock(); delete(state, key) },
		})
	}()
	holds := func(want map[string]string) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return fmt.Sprint(state) == fmt.Sprint(want) }
	}
	waitFor(t, holds(map[string]string{"a.1": "two"}))
	if _, err := bucket.Put(ctx, "b.1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := bucket.Delete(ctx, "a.1"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, holds(map[string]string{"b.1": "x"}))
	server.Restart()
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return resets > 1 })
	waitFor(t, holds(map[string]string{"b.1": "x"}))
	if keys, err := bucket.Keys(ctx, "b.*"); err != nil || len(keys) != 1 {
		t.Errorf("keys: %v %v", keys, err)
	}
}
