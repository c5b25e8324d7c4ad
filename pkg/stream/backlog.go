package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The names of the consumers of a chain begin with one of these.
const (
	chainPrefix   = "chain-"
	orderedPrefix = "ordered-"
)

// ChainConsumer is the name of a chain's consumers.
func ChainConsumer(chain string, ordered bool) string {
	if ordered {
		return orderedPrefix + chain
	}
	return chainPrefix + chain
}

// ChainOf is the chain that a consumer belongs to, and whether that is ordered, from
// the consumer's name; empty: it is none of a chain.
func ChainOf(consumer string) (chain string, ordered bool) {
	if chain, ordered = strings.CutPrefix(consumer, orderedPrefix); ordered {
		return chain, true
	}
	chain, is := strings.CutPrefix(consumer, chainPrefix)
	if !is {
		return "", false
	}
	return chain, false
}

// Backlog is what a chain has to do, as the broker knows it.
type Backlog struct {
	Chain   string
	Ordered bool
	// Shards are the events that came in, by shard.
	Shards []ShardBacklog
	// Filters are the subjects that the chain selects; none: all.
	Filters []string
	// Parked are the events that wait in the log for their next attempt, or whose
	// time has come.
	Parked uint64
	// Attended says that some worker runs the chain, or would if it were not paused.
	Attended bool
}

// ShardBacklog is what a chain has to do in one shard.
type ShardBacklog struct {
	Shard int
	// Pending events have not been handed out. InHand ones have: they are with a
	// worker, or were given back, or come again in a few seconds. An ordered chain's
	// are all pending.
	Pending uint64
	InHand  int
	// Oldest is when the first of them was stored; zero: there are none.
	Oldest time.Time

	floor uint64 // all up to here is settled
}

// Events is how many events wait in all, parked ones too.
func (b *Backlog) Events() uint64 {
	n := b.Parked
	for _, s := range b.Shards {
		n += s.Pending + uint64(s.InHand)
	}
	return n
}

// Oldest is when the first event that waits was stored, parked ones apart; zero:
// none waits.
func (b *Backlog) Oldest() time.Time {
	var oldest time.Time
	for _, s := range b.Shards {
		if oldest.IsZero() || !s.Oldest.IsZero() && s.Oldest.Before(oldest) {
			oldest = s.Oldest
		}
	}
	return oldest
}

// Backlogs are those of every chain that the broker knows, sorted by name, also of
// those that no configuration has any more: how many events came in for them. For
// the rest see [Broker.Measure].
func (b *Broker) Backlogs(ctx context.Context) ([]*Backlog, error) {
	chains := make(map[string]*Backlog)
	for shard := range b.Shards() {
		all, err := b.Standings(ctx, In(shard))
		if err != nil {
			return nil, err
		}
		for _, at := range all {
			l := backlogOf(chains, at.Name)
			if l == nil {
				continue
			}
			l.Filters = at.Filters
			l.Shards = append(l.Shards, ShardBacklog{Shard: shard, Pending: at.Pending, InHand: at.Held, floor: at.Floor})
		}
	}
	all := slices.Collect(maps.Values(chains))
	slices.SortFunc(all, func(x, y *Backlog) int { return strings.Compare(x.Chain, y.Chain) })
	return all, nil
}

// backlogOf returns the backlog that belongs to a consumer, by its name; nil: it is
// none of a chain.
func backlogOf(chains map[string]*Backlog, consumer string) *Backlog {
	name, ordered := ChainOf(consumer)
	if name == "" {
		return nil
	}
	l := chains[name]
	if l == nil {
		l = &Backlog{Chain: name}
		chains[name] = l
	}
	l.Ordered = l.Ordered || ordered
	return l
}

// Measure adds to a backlog what takes a question each: the oldest event, what is
// parked, and whether somebody runs the chain.
func (b *Broker) Measure(ctx context.Context, l *Backlog) (err error) {
	for i := range l.Shards {
		if at := &l.Shards[i]; at.Pending > 0 || at.InHand > 0 {
			if at.Oldest, err = b.firstAfter(ctx, In(at.Shard), at.floor, l.Filters); err != nil {
				return err
			}
		}
	}
	if l.Parked, err = b.Parked(ctx, l.Chain); err != nil {
		return err
	}
	l.Attended, err = b.Attended(ctx, l.Chain)
	return err
}

// firstAfter is when the first message after a number was stored that the filters
// select; zero: there is none.
func (b *Broker) firstAfter(ctx context.Context, name string, floor uint64, filters []string) (time.Time, error) {
	s, err := b.stream(ctx, name)
	if err != nil {
		return time.Time{}, err
	}
	if len(filters) == 0 {
		filters = []string{">"}
	}
	var first *jetstream.RawStreamMsg
	for _, filter := range filters {
		m, err := s.GetMsg(ctx, floor+1, jetstream.WithGetMsgSubject(filter))
		switch err = brokerError(err); {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return time.Time{}, fmt.Errorf("look up the first message of %s after %d: %w", name, floor, err)
		case first == nil || m.Sequence < first.Sequence:
			first = m
		}
	}
	if first == nil {
		return time.Time{}, nil
	}
	return first.Time, nil
}

// Parked is how many events a chain has in RETRY, waiting and due.
func (b *Broker) Parked(ctx context.Context, chain string) (uint64, error) {
	return b.countWork(ctx, Retry, retryAllOf(chain))
}

// countWork is how many messages a stream of work holds of the subjects. Another
// consumer may not look at them, and a list of their subjects could be one of a
// million, so the first one is read as if many were to be: what would follow is told
// with it (https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md).
func (b *Broker) countWork(ctx context.Context, stream, subjects string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := fmt.Appendf(nil, `{"seq":1,"next_by_subj":%q,"batch":1}`, subjects)
	first, err := b.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+stream, request)
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", subjects, brokerError(err))
	}
	switch status := first.Header.Get("Status"); status {
	case "":
	case "404":
		return 0, nil
	default:
		return 0, fmt.Errorf("count %s: the broker answered %s %s: %w", subjects, status, first.Header.Get("Description"), ErrUnavailable)
	}
	more, err := strconv.ParseUint(first.Header.Get("Nats-Num-Pending"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", subjects, err)
	}
	return more + 1, nil
}

// DeleteChain removes what the broker keeps of a chain that nobody runs: its
// consumers, and so its backlog, what it has parked, and where it stands in events.
// Its history and its dead letters stay. It may be called again after a failure.
func (b *Broker) DeleteChain(ctx context.Context, chain string) error {
	if err := b.RemoveConsumer(ctx, Retry, ChainConsumer(chain, false)); err != nil {
		return err
	}
	for stream, subject := range map[string]string{
		Retry:                  retryAllOf(chain),
		bucketStream(Progress): progressSubjects(chain) + ">",
		bucketStream(Owners):   "$KV." + Owners + ".*." + chain + ".*",
	} {
		if err := b.Purge(ctx, stream, subject); err != nil {
			return err
		}
	}
	for shard := range b.Shards() {
		for _, ordered := range []bool{false, true} {
			if err := b.RemoveConsumer(ctx, In(shard), ChainConsumer(chain, ordered)); err != nil {
				return err
			}
		}
	}
	return nil
}
