package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/belay-hooks/belay/pkg/event"
)

// The streams that are not sharded. See [Topology].
const (
	Done     = "DONE"
	Retry    = "RETRY"
	Notify   = "NOTIFY"
	Attempts = "ATTEMPTS"
	Dead     = "DEAD"
)

// The buckets of keys and values. See [Topology].
const (
	Progress      = "PROGRESS"
	Subscriptions = "SUBSCRIPTIONS"
	Keys          = "KEYS"
	State         = "STATE"
	Owners        = "OWNERS"
	Idempotency   = "IDEMPOTENCY"
)

// In is the name of the stream that holds a shard of what came in.
func In(shard int) string { return "IN_" + strconv.Itoa(shard) }

// Out is the name of the stream that holds a shard of the deliveries.
func Out(shard int) string { return "OUT_" + strconv.Itoa(shard) }

// idempotencyTTL is how long an Idempotency-Key of the API is remembered.
const idempotencyTTL = 24 * time.Hour

// Topology is what the broker holds for Belay: the streams and the buckets.
//
//	IN_0…IN_n-1    events that came in, by partition           swept    dedup
//	DONE           what every chain finished, in groups        limits
//	RETRY          events parked by a chain until a time       work     scheduled
//	NOTIFY         accepted notifications                      swept    dedup
//	OUT_0…OUT_n-1  deliveries, due and parked, by subscription work     scheduled
//	ATTEMPTS       every attempt of a delivery                 limits
//	DEAD           events and deliveries that were given up    limits   dedup
//	PROGRESS       where a chain stands in an event            bucket
//	SUBSCRIPTIONS  who is told of notifications                bucket
//	KEYS, STATE    API keys, what operators did                bucket
//	IDEMPOTENCY    what requests with such a key have made     bucket
//	OWNERS         who runs which shard of an ordered chain    bucket
//
// "limits" streams keep their messages until they are too old, "swept" ones until
// they are too old and handled, "work" streams until they are acknowledged.
// Subjects:
//
//	belay.in.<partition>.<receiver>.<source>.<name…>
//	belay.part.<partition>.<receiver>        parts of large bodies, and those
//	belay.part.notify.<tenant>               of notifications
//	belay.part.dead.<chain>                  and of dead letters
//	belay.done.<chain>.<shard>
//	belay.fence.<chain>.<shard>              in DONE: who may write there
//	belay.retry.{wait,due}.<chain>.<shard>.<seq>.<run>
//	belay.notify.<tenant>
//	belay.out.<shard>.{wait,due}.<subscription>.<delivery>
//	belay.out.<shard>.cursor.<notification>
//	belay.attempt.<tenant>.<subscription>.<verdict>
//	belay.dead.in.<chain>.<shard>.<seq>.<run>.<redrives>
//	belay.dead.closed.<chain>.<shard>.<seq>.<run>.<redrives>
//	belay.dead.body.<chain>.<shard>.<seq>.<run>
//	belay.dead.notify, belay.dead.out.<tenant>.<subscription>.<delivery>
type Topology struct {
	// Shards is the number n of IN and of OUT streams. It is stored when they
	// are made and is part of deduplication and order: another number is
	// refused. 0 takes the stored one, or 1.
	Shards int
	// Replicas of every stream: 1, or 3 in a cluster. 0 is 1.
	Replicas int
	// Window is how long the broker remembers ids for deduplication. 0: 24 h.
	Window time.Duration
	// Retention is how long handled events and records are kept. 0: 7 days.
	Retention time.Duration
	// History is how long the attempts of deliveries are kept. 0: as Retention.
	History time.Duration
	// MaxBytes bounds what is kept of what came in, over all shards. A full store
	// refuses more; see [Broker.Sweep] for what makes room. 0: no bound but the
	// disk's.
	MaxBytes int64
	// DeadRetention is how long dead letters are kept. 0: 30 days.
	DeadRetention time.Duration
}

func (t Topology) withDefaults() Topology {
	t.Shards = max(t.Shards, 1)
	t.Replicas = max(t.Replicas, 1)
	if t.Window == 0 {
		t.Window = 24 * time.Hour
	}
	if t.Retention == 0 {
		t.Retention = 7 * 24 * time.Hour
	}
	if t.History == 0 {
		t.History = t.Retention
	}
	if t.DeadRetention == 0 {
		t.DeadRetention = 30 * 24 * time.Hour
	}
	return t
}

func (t Topology) streams() []jetstream.StreamConfig {
	var all []jetstream.StreamConfig
	for shard := range t.Shards {
		in := t.swept(In(shard), t.inSubjects(shard)...)
		in.Discard = jetstream.DiscardNew // a full store refuses; it never drops
		in.MaxBytes = t.MaxBytes / int64(t.Shards)
		if in.MaxBytes == 0 {
			in.MaxBytes = -1
		}
		in.Duplicates = t.Window
		in.AllowAtomicPublish = true
		in.Metadata[shardsKey] = strconv.Itoa(t.Shards)
		all = append(all, in, t.work(Out(shard), fmt.Sprintf("belay.out.%d.>", shard)))
	}
	notify := t.swept(Notify, "belay.notify.>", "belay.part.notify.>")
	notify.Discard = jetstream.DiscardNew
	notify.AllowAtomicPublish = true
	notify.Duplicates = t.Window
	dead := t.limits(Dead, t.DeadRetention, "belay.dead.>", "belay.part.dead.>")
	dead.AllowAtomicPublish = true
	dead.Duplicates = t.Window
	return append(all,
		t.limits(Done, t.Retention, doneIn+">", "belay.fence.>"),
		t.work(Retry, "belay.retry.>"),
		notify,
		t.limits(Attempts, t.History, "belay.attempt.>"),
		dead,
	)
}

func (t Topology) buckets() []jetstream.KeyValueConfig {
	return []jetstream.KeyValueConfig{
		// Its entries are overwritten when a chain ends, never deleted, and
		// outlive the longest retry.
		{Bucket: Progress, TTL: t.Retention, Replicas: t.Replicas},
		{Bucket: Subscriptions, Replicas: t.Replicas},
		{Bucket: Keys, Replicas: t.Replicas},
		{Bucket: State, Replicas: t.Replicas},
		{Bucket: Idempotency, TTL: idempotencyTTL, Replicas: t.Replicas},
		// What is in use is written again long before.
		{Bucket: Owners, TTL: ownersTTL, Replicas: t.Replicas},
	}
}

// limits is a stream whose messages go when they are too old.
func (t Topology) limits(name string, age time.Duration, subjects ...string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        name,
		Subjects:    subjects,
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      age,
		AllowDirect: true,
		Replicas:    t.Replicas,
	}
}

// swept is a stream whose messages go when they are too old and nobody needs
// them: the broker's own age limit would drop a backlog too. See [Broker.Sweep].
func (t Topology) swept(name string, subjects ...string) jetstream.StreamConfig {
	s := t.limits(name, 0, subjects...)
	s.Metadata = map[string]string{retentionKey: t.Retention.String()}
	return s
}

// work is a stream whose messages go when they are acknowledged, and may be
// parked until a time. It has no limit: a work stream over its limit would drop
// what is parked.
func (t Topology) work(name string, subjects ...string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               name,
		Subjects:           subjects,
		Storage:            jetstream.FileStorage,
		Retention:          jetstream.WorkQueuePolicy,
		Discard:            jetstream.DiscardOld, // schedules allow no other
		AllowDirect:        true,
		AllowMsgSchedules:  true,
		AllowMsgTTL:        true,
		AllowRollup:        true, // a schedule replaces the one of its subject
		AllowAtomicPublish: true,
		Replicas:           t.Replicas,
	}
}

func (t Topology) inSubjects(shard int) []string {
	var subjects []string
	for p := shard; p < event.Partitions; p += t.Shards {
		subjects = append(subjects, fmt.Sprintf("belay.in.%d.>", p), fmt.Sprintf("belay.part.%d.>", p))
	}
	return subjects
}

// retentionKey is where a stream that is swept holds its retention, in its
// metadata.
const retentionKey = "belay.retention"

// shardsKey is where IN_0 holds the number of shards, in its metadata.
const shardsKey = "belay.shards"

// Migrate creates the streams and buckets that are missing and updates those
// that differ. It may be called any number of times, by many programs at once.
func (b *Broker) Migrate(ctx context.Context, t Topology) error {
	var stored int
	err := insist(ctx, func(ctx context.Context) (err error) {
		stored, err = b.storedShards(ctx)
		return err
	})
	if err != nil {
		return err
	}
	switch {
	case t.Shards < 0 || t.Shards > event.Partitions:
		return fmt.Errorf("shards is %d; want 1 to %d", t.Shards, event.Partitions)
	case t.Shards == 0:
		t.Shards = stored
	case stored != 0 && stored != t.Shards:
		return fmt.Errorf("shards is %d, but the broker's streams were made with %d: "+
			"the number is part of deduplication and order and cannot be changed in place", t.Shards, stored)
	}
	t = t.withDefaults()
	if t.Window > t.Retention {
		return fmt.Errorf("the deduplication window is %v, but events are kept for %v: want a window that is no longer", t.Window, t.Retention)
	}
	for _, s := range t.streams() {
		err := insist(ctx, func(ctx context.Context) error {
			_, err := b.js.CreateOrUpdateStream(ctx, s)
			return err
		})
		if err != nil {
			return fmt.Errorf("create or update the stream %s: %w", s.Name, err)
		}
	}
	for _, kv := range t.buckets() {
		err := insist(ctx, func(ctx context.Context) error {
			_, err := b.js.CreateOrUpdateKeyValue(ctx, kv)
			return err
		})
		if err != nil {
			return fmt.Errorf("create or update the bucket %s: %w", kv.Bucket, err)
		}
	}
	b.shards = t.Shards
	return nil
}

// insist makes a request that may be made again until it is answered. A cluster
// that has just started drops requests, or says that it is not available, until
// its servers have elected their leader.
func insist(ctx context.Context, request func(context.Context) error) (err error) {
	const tries, pause = 12, 250 * time.Millisecond
	for range tries {
		try, cancel := context.WithTimeout(ctx, requestTimeout)
		err = request(try)
		cancel()
		var api *jetstream.APIError
		early := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &api) && api.ErrorCode == codeNotLeader
		if !early {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (last error: %w)", ctx.Err(), err)
		case <-time.After(pause):
		}
	}
	return err
}

// storedShards is the number of shards that the streams were made with; 0 if
// there are none.
func (b *Broker) storedShards(ctx context.Context) (int, error) {
	s, err := b.js.Stream(ctx, In(0))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up the stream %s: %w", In(0), err)
	}
	text := s.CachedInfo().Config.Metadata[shardsKey]
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("the stream %s is not Belay's: its metadata %s is %q", In(0), shardsKey, text)
	}
	return n, nil
}

// doneIn begins the subjects of what chains have finished.
const doneIn = "belay.done."

// DoneSubject is where the records of a chain in a shard are kept.
func DoneSubject(chain string, shard int) string {
	return fmt.Sprintf("%s%s.%d", doneIn, chain, shard)
}

// DoneBy is the chain whose record a [DoneSubject] is for.
func DoneBy(subject string) (chain string) {
	chain, _, _ = strings.Cut(strings.TrimPrefix(subject, doneIn), ".")
	return chain
}

// bucketStream is the stream that a bucket's keys are stored in
// (https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-8.md).
func bucketStream(bucket string) string { return "KV_" + bucket }

// FenceSubject is where the owners of a shard of an ordered chain say that it is
// theirs: the last one is the only one that may write to its [DoneSubject].
func FenceSubject(chain string, shard int) string {
	return fmt.Sprintf("belay.fence.%s.%d", chain, shard)
}

// NotifySubject is where the notifications of a tenant are stored.
func NotifySubject(tenant string) string { return "belay.notify." + tenant }

// ShardOf is the shard that a stream of events or deliveries holds, from its
// name.
func ShardOf(stream string) (int, error) {
	_, text, _ := strings.Cut(stream, "_")
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("the stream %s holds no shard", stream)
	}
	return n, nil
}
