package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/belay-hooks/belay/pkg/stream"
)

// The headers of a parked event and of a dead letter, besides the event's own.
const (
	headerTurn      = "belay-turn"      // which turn is due
	headerReference = "belay-reference" // the body is in IN only
	headerChain     = "belay-chain"
	headerHandler   = "belay-handler" // the step that failed last
	headerReason    = "belay-reason"
	headerPlace     = "belay-place"    // <shard>.<seq>.<run> in IN
	headerFailures  = "belay-failures" // JSON: the last failed attempts
)

// maxParkedBody is the largest body that is parked with its event; of a larger
// one only the place in IN is.
const maxParkedBody = 64 << 10

// settle makes an outcome durable and tells the broker. Every arrow is a write
// that was confirmed before the next begins; a crash between two of them leads
// back here, and repeats no handler:
//
//	done, responded   [PROGRESS: ended] → DONE → ack
//	again, soon       PROGRESS → nak with the delay
//	again, later      PROGRESS: parked, turn+1 → RETRY: scheduled, turn+1 → ack
//	dead              DEAD → [PROGRESS: ended] → DONE → ack
//	interrupted       given back; nothing is recorded
//
// PROGRESS is written at the end only if the event has an entry there.
func (r *runner) settle(ctx context.Context, t *task, o outcome) error {
	switch o.kind {
	case done, responded:
		return r.end(ctx, t, o)
	case dead:
		if err := r.bury(ctx, t, o); err != nil {
			return err
		}
		return r.end(ctx, t, o)
	case again:
		if o.wait <= r.config.ShortRetry {
			t.progress.Parked = false
			if err := r.writeProgress(ctx, t); err != nil {
				return err
			}
			return t.held.Settle(ctx, stream.Again(o.wait))
		}
		return r.park(ctx, t, time.Now().Add(o.wait))
	}
	return t.held.Settle(ctx, stream.GiveBack)
}

// end records that the chain is through with the event.
func (r *runner) end(ctx context.Context, t *task, o outcome) error {
	if t.kept {
		t.progress.Outcome = o.kind
		t.progress.Values = nil // nobody reads them any more
		if err := r.writeProgress(ctx, t); err != nil {
			return err
		}
	}
	return r.record(ctx, t, o)
}

// record writes the line of history by which a finished event is recognised, and
// acknowledges the message.
func (r *runner) record(ctx context.Context, t *task, o outcome) error {
	record := stream.Record{Seq: t.seq, Outcome: string(o.kind), Steps: o.steps, Attempts: t.progress.Total}
	if o.response != nil {
		record.Status = o.response.Status
	}
	if err := r.ledgers[t.shard].Record(ctx, record); err != nil {
		return err
	}
	return t.held.Settle(ctx, stream.Ack)
}

// park puts the event away until the time.
func (r *runner) park(ctx context.Context, t *task, until time.Time) error {
	t.progress.Turn++
	t.progress.Parked, t.progress.Until = true, until.UTC()
	if err := r.writeProgress(ctx, t); err != nil {
		return err
	}
	if err := r.schedule(ctx, t); err != nil {
		return err
	}
	return t.held.Settle(ctx, stream.Ack)
}

// schedule writes the message that will bring the event back when its turn is due.
func (r *runner) schedule(ctx context.Context, t *task) error {
	e := *t.event
	reference := len(e.Body) > maxParkedBody
	if reference {
		e.Body = nil
	}
	header, data := e.Encode()
	header[headerTurn] = []string{strconv.Itoa(t.progress.Turn)}
	if reference {
		header[headerReference] = []string{"1"}
	}
	return r.config.Broker.Schedule(ctx,
		stream.Message{Subject: stream.RetryDue(r.chain.Name, t.shard, t.seq), Header: header, Data: data},
		stream.RetryWait(r.chain.Name, t.shard, t.seq), t.progress.Until)
}

// parkAgain settles the IN message of an event that is parked: a process died
// between parking it and the ack. If it died before the schedule was stored, the
// schedule is made up for.
func (r *runner) parkAgain(ctx context.Context, t *task) error {
	for _, subject := range []string{
		stream.RetryWait(r.chain.Name, t.shard, t.seq), stream.RetryDue(r.chain.Name, t.shard, t.seq),
	} {
		_, err := r.config.Broker.Last(ctx, stream.Retry, subject)
		if err == nil {
			return t.held.Settle(ctx, stream.Ack)
		}
		if !errors.Is(err, stream.ErrNotFound) {
			return err
		}
	}
	e, err := r.readEvent(ctx, t)
	if err != nil {
		return err
	}
	t.event = e
	if err := r.schedule(ctx, t); err != nil {
		return err
	}
	return t.held.Settle(ctx, stream.Ack)
}

// bury stores the event whole as a dead letter.
func (r *runner) bury(ctx context.Context, t *task, o outcome) error {
	failures, err := json.Marshal(t.progress.Failures)
	if err != nil {
		return fmt.Errorf("dead letter: %w", err)
	}
	header, data := t.event.Encode()
	r.describeDead(header, t, o)
	header[headerFailures] = []string{string(failures)}
	return r.publishDead(ctx, t, header, data)
}

// settleUnreadable gives up what is no event, or whose body is gone.
func (r *runner) settleUnreadable(ctx context.Context, t *task, cause error) error {
	o := outcome{kind: dead, reason: reasonUnreadable, err: cause}
	if errors.Is(cause, stream.ErrNotFound) {
		o.reason = reasonExpired
	}
	header := stream.Portable(t.held.Header)
	r.describeDead(header, t, o)
	if err := r.publishDead(ctx, t, header, t.held.Data); err != nil {
		return err
	}
	r.log.Error("event given up", "shard", t.shard, "seq", t.seq, "reason", o.reason, "error", cause)
	r.metrics.settled(r.chain.Name, o)
	return r.end(ctx, t, o)
}

func (r *runner) describeDead(header map[string][]string, t *task, o outcome) {
	header[headerChain] = []string{r.chain.Name}
	header[headerHandler] = []string{o.handler}
	header[headerReason] = []string{string(o.reason)}
	header[headerPlace] = []string{place(t)}
}

func (r *runner) publishDead(ctx context.Context, t *task, header map[string][]string, data []byte) error {
	_, err := r.config.Broker.Publish(ctx, stream.Message{
		Subject: stream.DeadEvent(r.chain.Name), Header: header, Data: data,
		ID: r.chain.Name + "." + place(t), Parts: stream.DeadEventParts(r.chain.Name),
	})
	return err
}

func place(t *task) string { return fmt.Sprintf("%d.%d.0", t.shard, t.seq) }

// tell settles a message about which there is nothing to record.
func (r *runner) tell(ctx context.Context, t *task, v stream.Verdict) {
	if err := t.held.Settle(ctx, v); err != nil {
		r.log.Debug("message left to its deadline", "error", err)
	}
}

// report writes the one line about a settled event.
func (r *runner) report(ctx context.Context, t *task, o outcome, took time.Duration) {
	r.metrics.settled(r.chain.Name, o)
	e := t.event
	level, text := slog.LevelInfo, "event handled"
	attrs := []slog.Attr{
		slog.String("id", e.ID), slog.String("source", e.Source), slog.String("type", e.Type),
		slog.String("outcome", string(o.kind)), slog.Int("handlers", len(o.steps)),
		slog.Int("attempts", t.progress.Total), slog.Duration("duration", took),
	}
	switch o.kind {
	case responded:
		attrs = append(attrs, slog.String("handler", o.handler), slog.Int("status", o.response.Status))
	case again:
		level, text = slog.LevelWarn, "handler failed, event is tried again"
		attrs = append(attrs, slog.String("handler", o.handler), slog.Int("attempt", t.progress.Failed),
			slog.Duration("delay", o.wait), slog.Any("error", o.err))
	case dead:
		level, text = slog.LevelError, "event given up, kept as a dead letter"
		attrs = append(attrs, slog.String("handler", o.handler), slog.String("reason", string(o.reason)), slog.Any("error", o.err))
	case interrupted:
		text = "event given back, the worker stops"
	}
	r.log.LogAttrs(ctx, level, text, attrs...)
}
