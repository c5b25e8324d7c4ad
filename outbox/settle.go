package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/belay-hooks/belay/pkg/stream"
)

// The outcomes of a message of an OUT stream in the ledger.
const (
	outcomeAttempted = "attempted"
	outcomeParked    = "parked"
)

// settle stores what follows from the verdict, in this order, and ends the
// message. Every arrow is a durable write that is waited for; a crash in between
// leads to the same attempt again, never to none. What is done is not attempted
// again, even if the broker crashes and hands it out anew.
//
//	delivered   ATTEMPTS → DONE → ack
//	retry       ATTEMPTS → schedule the attempt n+1 → DONE → ack
//	gone        ATTEMPTS → disable the subscription, tell its owner → DONE → ack
//	dead        ATTEMPTS → DEAD → tell the owner → DONE → ack
//	cancelled   ATTEMPTS → DONE → ack
//	parked      schedule the attempt n → DONE → ack
//	give back   give back; nothing is recorded
//
// A failure of an endpoint that has failed for too long disables the subscription
// like gone does, right after the record.
func (s *shard) settle(h *stream.Held, r *result) error {
	ctx := s.settling.Context()
	if r.verdict.decision == giveBack {
		return h.Settle(ctx, stream.GiveBack)
	}
	if err := s.insist(ctx, func(ctx context.Context) error { return s.follow(ctx, r) }); err != nil {
		return err
	}
	return s.done(ctx, h, outcomeAttempted)
}

// insist waits out an outage of the broker, up to the end of ctx. Each try has a while of its own.
func (s *sender) insist(ctx context.Context, write func(context.Context) error) error {
	return stream.WaitOut(ctx, func() error { return write(s.writing.Context()) })
}

// follow stores the attempt and what follows from it. It may be done again.
func (s *shard) follow(ctx context.Context, r *result) error {
	if err := s.record(ctx, r); err != nil {
		return fmt.Errorf("record the attempt: %w", err)
	}
	if err := s.judge(ctx, r); err != nil {
		return err
	}
	switch d := r.delivery; r.verdict.decision {
	case retry:
		next := *d
		next.attempt, next.turn = d.attempt+1, ""
		next.reason, next.cause, next.order, next.by = r.verdict.reason, "", "", ""
		return s.schedule(ctx, &next, r.verdict.at)
	case gone:
		return s.disable(ctx, r, r.verdict.reason)
	case dead:
		if _, err := s.broker.Publish(ctx, d.letter(r.payload, r.verdict.reason, r.attempt.Detail)); err != nil {
			return err
		}
		return s.exhausted(ctx, r)
	}
	return nil
}

// record stores the attempt, once: what was tried before may be stored, though its
// confirmation got lost.
func (s *shard) record(ctx context.Context, r *result) error {
	if r.recorded == recordTried {
		stored, err := s.history.recorded(ctx, r.attempt)
		if err != nil {
			return err
		}
		if stored {
			r.recorded = recordStored
		}
	}
	if r.recorded == recordStored {
		return nil
	}
	record, err := r.attempt.message()
	if err != nil {
		return err
	}
	if r.recorded == recordUntried {
		r.recorded, err = recordTried, s.broker.PublishTogether(ctx, record)
	} else { // what another one has spoilt for all
		_, err = s.broker.Publish(ctx, record)
	}
	if err != nil {
		return err
	}
	r.recorded = recordStored
	return nil
}

// done ends a message, of which all that follows is stored.
func (s *shard) done(ctx context.Context, h *stream.Held, outcome string) error {
	if err := s.ledger.Record(ctx, stream.Record{Seq: h.Seq, Outcome: outcome}); err != nil {
		return fmt.Errorf("record that the delivery is settled: %w", err)
	}
	return h.Settle(ctx, stream.Ack)
}

// park puts a delivery away that cannot be attempted now, or gives it back.
func (s *shard) park(h *stream.Held, d *delivery, put parked) error {
	ctx := s.settling.Context()
	if put.until.IsZero() {
		return h.Settle(ctx, stream.GiveBack)
	}
	s.metrics.parked.WithLabelValues(string(put.cause)).Inc()
	later := *d
	later.turn, later.cause = "", put.cause
	if put.cause == parkRate {
		later.turn = s.turn
	}
	if err := s.insist(ctx, func(ctx context.Context) error { return s.schedule(ctx, &later, put.until) }); err != nil {
		return err
	}
	// It is stored: who looks for it finds it.
	switch put.cause {
	case parkPaused:
		s.pauses.add(d.event.Tenant, d.subscription)
	case parkConcurrency, parkBreaker:
		s.lanes.putAway(d.subscription, h.Seq, put.until, s.idle)
	}
	return s.done(ctx, h, outcomeParked)
}

// schedule parks an attempt in the stream that the delivery stands in.
func (s *shard) schedule(ctx context.Context, d *delivery, at time.Time) error {
	return s.broker.Schedule(ctx, d.due(s.number), stream.OutWait(s.number, d.subscription, d.id), at)
}

// settleUnreadable puts away what is no delivery, whole, so that it cannot stand
// in the way of others.
func (s *shard) settleUnreadable(h *stream.Held, cause error) error {
	ctx := s.settling.Context()
	s.log.Error("a stored delivery cannot be read; it is kept as a dead letter",
		"stream", h.Stream, "seq", h.Seq, "reason", ReasonUnreadable, "error", cause)
	if err := publishUnreadable(ctx, s.broker, h, stream.DeadDeliveryUnreadable, cause); err != nil {
		return err
	}
	return s.done(ctx, h, outcomeDead)
}
