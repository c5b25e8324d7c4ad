package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// The sweeper's times and borders.
const (
	// sweepEvery is how often the sizes of the IN streams are looked at.
	sweepEvery = 10 * time.Second
	// overdueEvery is how often parked messages are looked through.
	overdueEvery = time.Hour
	// overdueAfter is how late a parked message must be to be taken for stuck.
	overdueAfter = time.Minute
	// purgeAbove is the share of an IN stream's size limit above which handled
	// history is purged.
	purgeAbove = 0.7
	// leaseFor is how long one process sweeps without saying so again.
	leaseFor = 3 * sweepEvery
	// leaseKey is where the lease is kept, in the bucket STATE.
	leaseKey = "sweeper"
)

// Sweep keeps the streams in order until ctx ends. However many processes call
// it, one at a time does the work:
//
//   - What every chain has finished goes when it is older than the retention, and
//     earlier above 70 % of a stream's size limit, so that only a real backlog
//     fills it. What a chain has not finished stays.
//   - A parked message that the broker has failed to bring back, because its
//     store was full when it was due, is parked again.
func (b *Broker) Sweep(ctx context.Context) {
	who := nuid.Next()
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	var looked time.Time
	for {
		if err := b.sweepOnce(ctx, who, &looked); err != nil && ctx.Err() == nil {
			b.log.Debug("sweep not finished, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (b *Broker) sweepOnce(ctx context.Context, who string, looked *time.Time) error {
	leads, err := b.lease(ctx, who)
	if err != nil || !leads {
		return err
	}
	for shard := range b.Shards() {
		if err := b.purgeHandled(ctx, In(shard)); err != nil {
			return err
		}
	}
	if err := b.purgeHandled(ctx, Notify); err != nil {
		return err
	}
	if time.Since(*looked) < overdueEvery {
		return nil
	}
	if err := b.wakeOverdue(ctx, Retry, "belay.retry.wait.>", overdueAfter); err != nil {
		return err
	}
	for shard := range b.Shards() {
		if err := b.wakeOverdue(ctx, Out(shard), OutWait(shard, "*", "*"), overdueAfter); err != nil {
			return err
		}
	}
	*looked = time.Now()
	return nil
}

// lease reports whether this process is the one that sweeps.
func (b *Broker) lease(ctx context.Context, who string) (bool, error) {
	state := b.Bucket(State)
	e, err := state.Get(ctx, leaseKey)
	switch {
	case errors.Is(err, ErrNotFound):
		_, err = state.Create(ctx, leaseKey, []byte(who))
	case err != nil:
		return false, err
	case string(e.Value) != who && time.Since(e.Created) < leaseFor:
		return false, nil
	default:
		_, err = state.Update(ctx, leaseKey, []byte(who), e.Revision)
	}
	if errors.Is(err, ErrConflict) {
		return false, nil // somebody else was faster
	}
	return err == nil, err
}

// purgeHandled removes from a stream what every consumer has settled and no
// parked event needs, if it is older than the retention or, where the stream is
// nearly full, than the window: the broker forgets the ids of purged messages
// when it restarts. What somebody has not settled stays, however old it is.
func (b *Broker) purgeHandled(ctx context.Context, name string) error {
	s, err := b.stream(ctx, name)
	if err != nil {
		return err
	}
	info, err := b.info(ctx, name)
	if err != nil {
		return err
	}
	age, err := time.ParseDuration(info.Config.Metadata[retentionKey])
	if err != nil {
		return fmt.Errorf("the retention of the stream %s: %w", name, err)
	}
	settled, slowest, err := b.settled(ctx, s, info.State)
	if err != nil {
		return err
	}
	limit := info.Config.MaxBytes
	full := limit > 0 && float64(info.State.Bytes) >= purgeAbove*float64(limit)
	if full && slowest != nobody {
		age = info.Config.Duplicates
	}
	first := info.State.FirstSeq
	old, err := olderThan(ctx, s, info.State, time.Now().Add(-age))
	if err != nil {
		return err
	}
	switch keep := min(old, settled); {
	case keep > first:
		return b.purgeBelow(ctx, s, name, first, keep)
	case full && settled <= first:
		// Of a chain that is gone for good, the consumer has to go too.
		b.log.Warn("a nearly full stream waits for a consumer", "stream", name, "consumer", slowest)
	case full:
		b.log.Warn("stream nearly full of handled events that deduplication still needs: "+
			"raise the backlog limit or shorten the deduplication window", "stream", name, "bytes", info.State.Bytes, "limit", limit)
	}
	return nil
}

// nobody stands for the slowest consumer of a stream that has none yet.
const nobody = "none"

// settled is the first message that some consumer of the stream has not settled,
// and which consumer that is: the slowest.
func (b *Broker) settled(ctx context.Context, s jetstream.Stream, state jetstream.StreamState) (first uint64, slowest string, err error) {
	first, slowest = state.LastSeq+1, nobody
	list := s.ListConsumers(ctx)
	for c := range list.Info() {
		if strings.HasPrefix(c.Name, scanPrefix) {
			continue // it settles nothing
		}
		next := c.AckFloor.Stream + 1
		// The floor stands at the last message that the consumer selects, and a
		// rare one may be far back.
		switch {
		case c.NumAckPending == 0 && c.NumPending == 0:
			next = state.LastSeq + 1
		case c.NumAckPending == 0:
			next = max(next, c.Delivered.Stream+1)
		}
		if next < first || slowest == nobody {
			first, slowest = next, c.Name
		}
	}
	if err := list.Err(); err != nil {
		return 0, "", fmt.Errorf("list the consumers of %s: %w", s.CachedInfo().Config.Name, brokerError(err))
	}
	return first, slowest, nil
}

// purgeBelow removes what is before keep and before every parked event.
func (b *Broker) purgeBelow(ctx context.Context, s jetstream.Stream, name string, first, keep uint64) error {
	var err error
	if name != Notify { // of which nothing is parked: deliveries are
		if keep, err = b.parkedBelow(ctx, name, first, keep); err != nil {
			return err
		}
	}
	if keep <= first {
		return nil
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSequence(keep)); err != nil {
		return fmt.Errorf("purge %s: %w", name, brokerError(err))
	}
	b.log.Info("handled events purged", "stream", name, "up_to", keep-1)
	return nil
}

// parkedBelow lowers keep to the oldest parked event that an IN stream, which
// begins at first, still holds.
func (b *Broker) parkedBelow(ctx context.Context, in string, first, keep uint64) (uint64, error) {
	shard, err := ShardOf(in)
	if err != nil {
		return 0, err
	}
	parked, err := b.Subjects(ctx, Retry, fmt.Sprintf("belay.retry.*.*.%d.>", shard))
	if err != nil {
		return 0, err
	}
	for subject := range parked {
		place, err := ParseRetry(subject)
		if err == nil && place.Seq >= first {
			// The parts of a large body stand right before their event.
			keep = min(keep, place.Seq-min(place.Seq, maxBatch))
		}
	}
	return keep, nil
}

// olderThan is the first message that was stored at border or later.
func olderThan(ctx context.Context, s jetstream.Stream, state jetstream.StreamState, border time.Time) (uint64, error) {
	if !state.FirstTime.Before(border) {
		return state.FirstSeq, nil
	}
	low, high := state.FirstSeq, state.LastSeq+1
	for low < high {
		middle := low + (high-low)/2
		m, err := s.GetMsg(ctx, middle, jetstream.WithGetMsgSubject(">"))
		switch err = brokerError(err); {
		case errors.Is(err, ErrNotFound):
			high = middle
		case err != nil:
			return 0, err
		case m.Time.Before(border):
			low = m.Sequence + 1
		default:
			high = middle
		}
	}
	return low, nil
}

// wakeOverdue brings back what should have come back long ago: it parks it once more,
// to be due at once.
func (b *Broker) wakeOverdue(ctx context.Context, name, filter string, late time.Duration) error {
	s, err := b.stream(ctx, name)
	if err != nil {
		return err
	}
	for seq := uint64(1); ; seq++ {
		m, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(filter))
		switch err = brokerError(err); {
		case errors.Is(err, ErrNotFound):
			return nil
		case err != nil:
			return fmt.Errorf("look through %s: %w", name, err)
		}
		seq = m.Sequence
		due, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(m.Header.Get(headerSchedule), "@at "))
		if err != nil || time.Since(due) < late {
			continue
		}
		msg := &nats.Msg{Subject: m.Subject, Header: Portable(m.Header), Data: m.Data}
		for _, name := range []string{headerSchedule, headerTarget} {
			msg.Header.Set(name, m.Header.Get(name))
		}
		// It may have come back meanwhile: then this is refused.
		msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(m.Sequence, 10))
		switch _, err = b.confirmed(ctx, msg); {
		case err == nil:
			b.log.Warn("a parked message was overdue and is brought back", "stream", name, "subject", m.Subject, "due", due)
		case !errors.Is(err, ErrConflict):
			return fmt.Errorf("bring back %s: %w", m.Subject, err)
		}
	}
}
