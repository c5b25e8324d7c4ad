package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Bucket is a set of keys and values at the broker.
type Bucket struct {
	b    *Broker
	name string
}

// Entry is one key of a bucket.
type Entry struct {
	Key   string
	Value []byte
	// Revision grows with every change of the bucket.
	Revision uint64
	// Created is when the broker stored this revision.
	Created time.Time
}

// Bucket returns a bucket of the topology by its name.
func (b *Broker) Bucket(name string) *Bucket { return &Bucket{b: b, name: name} }

func (k *Bucket) kv(ctx context.Context) (jetstream.KeyValue, error) {
	if kv, ok := k.b.buckets.Load(k.name); ok {
		return kv.(jetstream.KeyValue), nil
	}
	kv, err := k.b.js.KeyValue(ctx, k.name)
	if err != nil {
		return nil, fmt.Errorf("look up the bucket %s: %w", k.name, brokerError(err))
	}
	k.b.buckets.Store(k.name, kv)
	return kv, nil
}

// TTL is how long an entry is kept that nobody writes again.
func (k *Bucket) TTL(ctx context.Context) (time.Duration, error) {
	kv, err := k.kv(ctx)
	if err != nil {
		return 0, err
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return 0, fmt.Errorf("look up the bucket %s: %w", k.name, brokerError(err))
	}
	return status.TTL(), nil
}

// Get reads a key. [ErrNotFound] if there is none.
func (k *Bucket) Get(ctx context.Context, key string) (Entry, error) {
	kv, err := k.kv(ctx)
	if err != nil {
		return Entry{}, err
	}
	e, err := kv.Get(ctx, key)
	if err != nil {
		return Entry{}, k.failed("read", key, err)
	}
	return entry(e), nil
}

// GetNewest is [Bucket.Get] by the server that leads the bucket. Any other one may
// answer Get too, and lag behind what was confirmed.
func (k *Bucket) GetNewest(ctx context.Context, key string) (Entry, error) {
	e, err := k.b.lastFromLeader(ctx, bucketStream(k.name), "$KV."+k.name+"."+key)
	if err != nil {
		return Entry{}, fmt.Errorf("read %s in the bucket %s: %w", key, k.name, err)
	}
	e.Key = key
	return e, nil
}

// Create stores a key that must not exist, and returns its revision.
// [ErrConflict] if it does.
func (k *Bucket) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return k.write(ctx, "create", key, func(kv jetstream.KeyValue) (uint64, error) { return kv.Create(ctx, key, value) })
}

// Put stores a key whatever it held, and returns its revision.
func (k *Bucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return k.write(ctx, "write", key, func(kv jetstream.KeyValue) (uint64, error) { return kv.Put(ctx, key, value) })
}

// Update stores a key if it is still at the revision, and returns the new one.
// [ErrConflict] if it is not.
func (k *Bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return k.write(ctx, "update", key, func(kv jetstream.KeyValue) (uint64, error) { return kv.Update(ctx, key, value, revision) })
}

// Replace is [Bucket.Update], or [Bucket.Create] where the revision is 0: there was no
// entry.
func (k *Bucket) Replace(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if revision == 0 {
		return k.Create(ctx, key, value)
	}
	return k.Update(ctx, key, value, revision)
}

// Delete removes a key, whether it exists or not.
func (k *Bucket) Delete(ctx context.Context, key string) error {
	_, err := k.write(ctx, "delete", key, func(kv jetstream.KeyValue) (uint64, error) { return 0, kv.Delete(ctx, key) })
	return err
}

func (k *Bucket) write(ctx context.Context, verb, key string, f func(jetstream.KeyValue) (uint64, error)) (uint64, error) {
	kv, err := k.kv(ctx)
	if err != nil {
		return 0, err
	}
	revision, err := f(kv)
	if err != nil {
		return 0, k.failed(verb, key, err)
	}
	if err := k.b.flushed(ctx); err != nil {
		return 0, k.failed(verb, key, err)
	}
	return revision, nil
}

// Keys lists the keys that match a filter, in which * stands for a token and a
// final > for the rest.
func (k *Bucket) Keys(ctx context.Context, filter string) ([]string, error) {
	kv, err := k.kv(ctx)
	if err != nil {
		return nil, err
	}
	lister, err := kv.ListKeysFiltered(ctx, filter)
	if err != nil {
		return nil, k.failed("list", filter, err)
	}
	var keys []string
	for key := range lister.Keys() {
		keys = append(keys, key)
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx) // the list may have ended early
	}
	return keys, nil
}

// Watcher is told of a bucket's contents and of their changes, one call at a
// time.
type Watcher struct {
	// Reset gets all entries, at the start and whenever the connection to the
	// broker is a new one: what is missing was deleted meanwhile.
	Reset func([]Entry)
	// Put gets an entry that was created or changed.
	Put func(Entry)
	// Delete gets a key that was removed, and the revision that removed it.
	Delete func(key string, revision uint64)
}

// watchCheck is how often a watch looks whether the connection is still the
// one that it began in: after a broker's restart a watch can be blind for 18
// seconds.
const watchCheck = 250 * time.Millisecond

// watchReload is how often a watch reads everything again, in case an update
// was lost.
const watchReload = 5 * time.Minute

// Watch tells w what the bucket holds until ctx ends. Trouble with the broker
// is waited out.
func (k *Bucket) Watch(ctx context.Context, w Watcher) { k.WatchFiltered(ctx, ">", w) }

// WatchFiltered is [Bucket.Watch] for the keys that a filter selects.
func (k *Bucket) WatchFiltered(ctx context.Context, filter string, w Watcher) {
	for ctx.Err() == nil {
		said := false
		_ = retry(ctx, func() error { // fails only when ctx ends
			err := k.watch(ctx, filter, w)
			if err != nil && !said && ctx.Err() == nil {
				k.b.log.Warn("watch of a bucket lost, trying again", "bucket", k.name, "error", err)
				said = true
			}
			return err
		})
	}
}

// watch runs one watch, until it has to be begun again.
func (k *Bucket) watch(ctx context.Context, filter string, w Watcher) error {
	epoch := k.b.epoch()
	kv, err := k.kv(ctx)
	if err != nil {
		return err
	}
	watcher, err := kv.Watch(ctx, filter)
	if err != nil {
		return k.failed("watch", filter, err)
	}
	defer func() { _ = watcher.Stop() }() // it fails for a lost connection: nothing is left to stop
	check, reload := time.NewTicker(watchCheck), time.NewTimer(watchReload)
	defer check.Stop()
	defer reload.Stop()
	var initial []Entry
	complete := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-reload.C:
			return nil
		case <-check.C:
			if k.b.epoch() != epoch {
				return nil
			}
		case e, ok := <-watcher.Updates():
			switch {
			case !ok:
				return errors.New("the broker ended the watch")
			case e == nil:
				complete = true
				w.Reset(initial)
				initial = nil
			case !complete && e.Operation() == jetstream.KeyValuePut:
				initial = append(initial, entry(e))
			case !complete:
			case e.Operation() == jetstream.KeyValuePut:
				w.Put(entry(e))
			default:
				w.Delete(e.Key(), e.Revision())
			}
		}
	}
}

func entry(e jetstream.KeyValueEntry) Entry {
	return Entry{Key: e.Key(), Value: e.Value(), Revision: e.Revision(), Created: e.Created()}
}

func (k *Bucket) failed(verb, key string, err error) error {
	return fmt.Errorf("%s %s in the bucket %s: %w", verb, key, k.name, brokerError(err))
}
