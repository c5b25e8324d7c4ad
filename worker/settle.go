package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// settle makes an outcome durable, and returns what the broker is to be told then
// and the outcome that it came to. Every arrow is a write that was confirmed before
// the next begins. An outage of the broker is waited out here, so that only the end
// of the process can repeat handlers, and only before the first write of a line:
//
//	done, responded   [STATE: source off] → [PROGRESS: ended] → DONE → ack
//	filtered          the same
//	passed            ack; the same if the chain has worked on the event before
//	again, soon       PROGRESS → nak with the delay
//	again, later      PROGRESS: turn+1 → RETRY: scheduled, turn+1 → ack
//	again, ordered    PROGRESS: due; its key waits in the memory of the owner
//	dead              DEAD → [PROGRESS: ended] → DONE → ack
//	interrupted       given back; nothing is recorded
//
// PROGRESS is written at the end only if the event has an entry there.
func (r *runner) settle(ctx context.Context, t *task, o outcome) (v stream.Verdict, came outcome, err error) {
	switch o.kind {
	case passed:
		switch {
		case t.kept:
			o.kind = filtered
			v, err = r.end(ctx, t, o)
		case t.replay != nil:
			v = stream.Ack
		default:
			v, err = r.pass(ctx, t)
		}
	case done, responded, filtered:
		if err = r.switchOff(ctx, t, o); err == nil {
			v, err = r.end(ctx, t, o)
		}
	case dead:
		if err = r.bury(ctx, t, &o); err == nil {
			v, err = r.end(ctx, t, o)
		}
	case again:
		v, err = r.postpone(ctx, t, o.wait)
		if errors.Is(err, stream.ErrTooLarge) {
			// The values that its handlers left do not fit into PROGRESS.
			o.kind, o.reason, o.err = dead, reasonTooLarge, err
			return r.settle(ctx, t, o)
		}
	case interrupted:
		v, err = r.uncount(ctx, t)
	}
	return v, o, err
}

// postpone keeps where the chain stands and brings the event back after the wait.
func (r *runner) postpone(ctx context.Context, t *task, wait time.Duration) (stream.Verdict, error) {
	t.progress.Delivery = t.held.Deliveries
	if t.lease != nil {
		return r.holdBack(ctx, t, wait)
	}
	if wait > r.config.ShortRetry {
		return r.park(ctx, t, t.event, time.Now().Add(wait))
	}
	return stream.Again(wait), r.writeProgress(ctx, t)
}

// end records that the chain is through with the event.
func (r *runner) end(ctx context.Context, t *task, o outcome) (stream.Verdict, error) {
	if t.kept {
		t.progress.Outcome = string(o.kind)
		if !o.keepValues {
			t.progress.Values = nil // nobody reads them any more
		}
		write := r.writeProgress
		if o.kind == dead {
			write = r.endProgress
		}
		if err := write(ctx, t); err != nil {
			return stream.Verdict{}, err
		}
	}
	return r.record(ctx, t, o)
}

// record writes the line of history by which a finished event is recognised.
func (r *runner) record(ctx context.Context, t *task, o outcome) (stream.Verdict, error) {
	record := stream.Record{Seq: t.Seq, Run: t.Run, Outcome: string(o.kind), Steps: o.steps, Attempts: t.progress.Total}
	if o.response != nil {
		record.Status = o.response.Status
	}
	ledger := r.ledgers[t.Shard]
	if t.replay != nil {
		ledger = t.replay.ledgers[t.Shard]
	}
	return stream.Ack, ledger.Record(ctx, record)
}

// park puts the event away until the time.
func (r *runner) park(ctx context.Context, t *task, e *event.Event, until time.Time) (stream.Verdict, error) {
	t.progress.Turn++
	t.progress.Until = until.UTC()
	if err := r.writeProgress(ctx, t); err != nil {
		return stream.Verdict{}, err
	}
	m, at := r.nextTurn(t, e), r.nextStop(t.progress.Until)
	return stream.Ack, stream.WaitOut(ctx, func() error {
		return r.config.Broker.Schedule(ctx, m, r.waitSubject(t), at)
	})
}

// nextStop is when an event comes back that is parked until a time: before that, where
// its progress would be gone then. It is parked on, which renews the progress.
func (r *runner) nextStop(until time.Time) time.Time {
	wait := time.Until(until)
	if r.maxPark == 0 || wait <= r.maxPark {
		return until
	}
	return time.Now().Add(min(r.maxPark, wait/2))
}

// early tells whether an event has come back at a stop only.
func (r *runner) early(t *task) bool {
	return t.parked && time.Until(t.progress.Until) > r.config.ShortRetry
}

// nextTurn is the message that brings the event back when its turn is due.
func (r *runner) nextTurn(t *task, parked *event.Event) stream.Message {
	return standing.Turn(r.chain.Name, t.Place, t.progress, parked, t.reference)
}

func (r *runner) waitSubject(t *task) string { return stream.RetryWait(r.chain.Name, t.Place) }
func (r *runner) dueSubject(t *task) string  { return stream.RetryDue(r.chain.Name, t.Place) }

// parkAgain settles the message that an event was parked from: the process died
// before the ack. If it died before the schedule was stored, the schedule is made
// up for.
func (r *runner) parkAgain(ctx context.Context, t *task) (stream.Verdict, error) {
	waiting := uint64(0) // what stands where the schedule belongs
	for _, subject := range []string{r.waitSubject(t), r.dueSubject(t)} {
		m, err := r.config.Broker.Last(ctx, stream.Retry, subject)
		switch {
		case errors.Is(err, stream.ErrNotFound):
			continue
		case err != nil:
			return stream.Verdict{}, err
		}
		if turn, err := standing.TurnOf(m.Header); err == nil && turn >= t.progress.Turn {
			return stream.Ack, nil
		}
		if subject == r.waitSubject(t) {
			waiting = m.Seq
		}
	}
	e, err := r.readEvent(ctx, t)
	switch {
	case gone(err):
		return r.settleUnreadable(ctx, t, err)
	case err != nil:
		return stream.Verdict{}, err
	}
	// Another worker may just have parked it for a later turn: that one stays.
	return stream.Ack, r.config.Broker.Reschedule(ctx, standing.Once(r.nextTurn(t, e), t.progress.Turn), r.waitSubject(t), r.nextStop(t.progress.Until), waiting)
}

// report counts a settled event, and writes the one line about it. Of those that went
// well there may be too many for a line each.
func (r *runner) report(ctx context.Context, t *task, o outcome, took time.Duration) {
	r.metrics.settled(r.chain.Name, o)
	routine := o.finished() && t.progress.Total == len(o.steps)
	if routine && !r.routine.Due(ctx) {
		return
	}
	e := t.event
	level, text := slog.LevelInfo, "event handled"
	attrs := []slog.Attr{
		slog.String("id", e.ID), slog.String("source", e.Source), slog.String("type", e.Type),
		slog.String("outcome", string(o.kind)), slog.Int("handlers", len(o.steps)),
		slog.Int("attempts", t.progress.Total), slog.Int64("duration_us", took.Microseconds()),
	}
	switch o.kind {
	case responded:
		attrs = append(attrs, slog.String("handler", o.handler), slog.Int("status", o.response.Status))
	case filtered:
		attrs = append(attrs, slog.String("handler", o.handler), slog.Any("reason", o.err))
	case passed:
		level, text = slog.LevelDebug, "event not taken by the chain's condition"
	case again:
		level, text = slog.LevelWarn, "handler failed, event is tried again"
		attrs = append(attrs, slog.String("handler", o.handler), slog.Int("attempt", t.progress.Failed),
			slog.String("delay", o.wait.String()), slog.Any("error", o.err))
	case dead:
		level, text = slog.LevelError, "event given up, kept as a dead letter"
		attrs = append(attrs, slog.String("handler", o.handler), slog.String("reason", string(o.reason)), slog.Any("error", o.err))
	case interrupted:
		text = "event given back, the worker stops"
	}
	if routine {
		attrs = append(attrs, r.routine.Omitted())
	}
	r.log.LogAttrs(ctx, level, text, attrs...)
}
