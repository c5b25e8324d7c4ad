package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/belay-hooks/belay/internal/routine"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// fanoutName is the name of the consumer of NOTIFY.
const fanoutName = "fanout"

// The names of the ledgers. No chain's begins with _, so no chain shares them.
const (
	fanoutLedger = "_fanout"
	senderLedger = "_sender"
)

// The outcomes of a fan-out in the ledger.
const (
	outcomeDone = "done"
	outcomeDead = "dead"
)

// fanout turns a notification into one delivery for each subscription that
// wants it.
type fanout struct {
	broker  *stream.Broker
	ledger  *stream.Ledger
	cache   *cache
	matcher *matcher
	history history
	leads   []*lead // of the shards
	chunk   int     // deliveries that are written between two cursors
	metrics *metrics
	log     *slog.Logger
	routine *routine.Lines
}

// handle fans out the notification that h holds, and settles it.
func (f *fanout) handle(ctx context.Context, h *stream.Held) {
	err := f.settle(ctx, h)
	if err == nil {
		return
	}
	verdict := stream.Again(againIn(h))
	if ctx.Err() != nil {
		verdict = stream.GiveBack
	} else {
		f.log.Warn("notification not fanned out yet, it is handed out again", "seq", h.Seq, "error", err)
	}
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	if err := h.Settle(settle, verdict); err != nil {
		f.log.Debug("message left to its deadline", "error", err)
	}
}

// settle writes the deliveries and ends the message. Every step is stored before
// the next begins:
//
//	deliveries of a shard, in chunks with cursors between them → DONE → ack → purge the cursors
//
// A crash before DONE resumes behind the last cursor of each shard, and looks for what
// is written of the chunk after it; one after DONE finds the notification in the ledger.
// A cursor that is left over harms nobody: it names a message that is never handled
// again.
func (f *fanout) settle(ctx context.Context, h *stream.Held) error {
	e, err := event.Decode(h.Header, h.Data)
	if err != nil {
		return f.settleUnreadable(ctx, h, err)
	}
	started := time.Now()
	w, err := f.write(ctx, h, e)
	if err != nil {
		return err
	}
	h.Leave()
	if err := f.ledger.Record(ctx, stream.Record{Seq: h.Seq, Outcome: outcomeDone}); err != nil {
		return fmt.Errorf("record the fan-out: %w", err)
	}
	if err := h.Settle(ctx, stream.Ack); err != nil {
		return err
	}
	f.purge(ctx, h, w.cursors)
	if f.routine.Due(ctx) {
		f.log.LogAttrs(ctx, slog.LevelInfo, "notification fanned out",
			slog.String("notification", e.ID), slog.String("source", e.Source), slog.String("type", e.Type),
			slog.String("tenant", e.Tenant), slog.Int("deliveries", w.deliveries),
			slog.Bool("resumed", h.Touched), slog.Int64("duration_us", time.Since(started).Microseconds()), f.routine.Omitted())
	}
	return nil
}

// purge removes the cursors. Whoever began before may have left some in shards where
// none is needed by now.
func (f *fanout) purge(ctx context.Context, h *stream.Held, cursors []int) {
	for shard := range f.broker.Shards() {
		if !h.Touched && !slices.Contains(cursors, shard) {
			continue
		}
		if err := f.broker.Purge(ctx, stream.Out(shard), f.cursor(shard, h)); err != nil {
			f.log.Debug("cursor left behind", "shard", shard, "seq", h.Seq, "error", err)
		}
	}
}

// written is what a fan-out came to.
type written struct {
	deliveries int
	cursors    []int // the shards that have one
}

// write stores the deliveries, shard by shard.
func (f *fanout) write(ctx context.Context, h *stream.Held, e *event.Event) (w written, err error) {
	byShard := make([][]*Subscription, f.broker.Shards())
	subs, err := f.wanting(ctx, h, e)
	if err != nil {
		return w, err
	}
	for _, s := range subs {
		shard := shardOf(s.ID, len(byShard))
		byShard[shard] = append(byShard[shard], s)
	}
	if err := f.ledger.Begin(ctx, h.Seq); err != nil {
		return w, err
	}
	for shard, subs := range byShard {
		n, err := f.writeShard(ctx, h, e, shard, subs)
		if err != nil {
			return w, fmt.Errorf("write deliveries to %s: %w", stream.Out(shard), err)
		}
		if w.deliveries += n; len(subs) > f.chunk {
			w.cursors = append(w.cursors, shard)
		}
	}
	f.metrics.deliveries.Add(float64(w.deliveries))
	return w, nil
}

// writeShard stores deliveries chunk by chunk, and between two chunks the cursor that
// says that the first is written. It tells how many it has stored.
func (f *fanout) writeShard(ctx context.Context, h *stream.Held, e *event.Event, shard int, subs []*Subscription) (n int, err error) {
	doubtful := 0
	if h.Touched {
		last, err := f.last(ctx, h, shard)
		if err != nil {
			return 0, err
		}
		subs = slices.DeleteFunc(subs, func(s *Subscription) bool { return s.ID <= last })
		doubtful = doubtfulChunks
	}
	written := ""
	for chunk := range slices.Chunk(subs, f.chunk) {
		if written != "" {
			if _, err := f.broker.Publish(ctx, stream.Message{Subject: f.cursor(shard, h), Data: []byte(written)}); err != nil {
				return n, fmt.Errorf("write the cursor: %w", err)
			}
		}
		written = chunk[len(chunk)-1].ID
		if doubtful--; doubtful >= 0 {
			if chunk, err = f.unwritten(ctx, h, e, chunk); err != nil {
				return n, err
			}
		}
		if err := f.leads[shard].wait(ctx, len(chunk)); err != nil {
			return n, err
		}
		if err := f.store(ctx, f.deliveries(h, e, shard, chunk)); err != nil {
			return n, err
		}
		n += len(chunk)
	}
	return n, nil
}

// store stores deliveries of a shard. A single one is stored with those of other
// notifications.
func (f *fanout) store(ctx context.Context, deliveries []stream.Message) error {
	if len(deliveries) == 1 {
		return f.broker.PublishTogether(ctx, deliveries[0])
	}
	return f.broker.PublishEach(ctx, deliveries)
}

// deliveries are those of a notification to subscriptions of a shard.
func (f *fanout) deliveries(h *stream.Held, e *event.Event, shard int, subs []*Subscription) []stream.Message {
	messages := make([]stream.Message, len(subs))
	for i, s := range subs {
		messages[i] = newDelivery(e, placeOf(h), s).due(shard)
	}
	return messages
}

// wanting are the subscriptions that a notification is for.
func (f *fanout) wanting(ctx context.Context, h *stream.Held, e *event.Event) ([]*Subscription, error) {
	if e.To != "" {
		return []*Subscription{onlyFor(e)}, nil
	}
	subs := slices.DeleteFunc(f.cache.match(e.Tenant, e.Name()), func(s *Subscription) bool { return concerns(e, s) })
	if h.InParts() && asks(subs, e) {
		whole, err := f.broker.Event(ctx, h)
		switch {
		case err == nil:
			e = whole
		case !errors.Is(err, stream.ErrNotFound) && !errors.Is(err, stream.ErrUnreadable):
			return nil, err
		}
	}
	return f.matcher.hold(subs, e), nil
}

// cursor is the subject that holds how far a notification got in a shard.
func (f *fanout) cursor(shard int, h *stream.Held) string {
	return stream.OutCursor(shard, strconv.FormatUint(h.Seq, 10))
}

// settleUnreadable puts away what is no notification: DEAD → DONE → ack.
func (f *fanout) settleUnreadable(ctx context.Context, h *stream.Held, cause error) error {
	f.log.Error("a stored notification cannot be read; it is kept as a dead letter",
		"seq", h.Seq, "reason", ReasonUnreadable, "error", cause)
	if err := publishUnreadable(ctx, f.broker, h, stream.DeadNotification, cause); err != nil {
		return err
	}
	if err := f.ledger.Record(ctx, stream.Record{Seq: h.Seq, Outcome: outcomeDead}); err != nil {
		return fmt.Errorf("record the fan-out: %w", err)
	}
	return h.Settle(ctx, stream.Ack)
}

// publishUnreadable stores a message as a dead letter, whole.
func publishUnreadable(ctx context.Context, b *stream.Broker, h *stream.Held, subject string, cause error) error {
	header := stream.Portable(h.Header)
	header[headerReason] = []string{string(ReasonUnreadable)}
	header[headerDetail] = []string{headerSafe(cause.Error())}
	_, err := b.Publish(ctx, stream.Message{
		Subject: subject, Header: header, Data: h.Data,
		ID: "dead/" + h.Stream + "/" + strconv.FormatUint(h.Seq, 10),
	})
	return err
}
