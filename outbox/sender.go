package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/belay-hooks/belay/pkg/stream"
)

// settleWithin bounds the writes that settle a delivery. They are not cut short
// when the outbox stops: the request has been made, and what came of it would
// be lost.
const settleWithin = 10 * time.Second

// againAfter is the pause before a message is handed out again whose settling
// failed.
const againAfter = 2 * time.Second

// sender makes the attempts of deliveries.
type sender struct {
	broker        *stream.Broker
	subscriptions *subscriptions
	client        *client
	addresses     addressPolicy
	policy        policy
	metrics       *metrics
	log           *slog.Logger
}

// handle makes one attempt of the delivery that h holds, and settles it.
func (s *sender) handle(ctx context.Context, h *stream.Held) {
	err := s.send(ctx, h)
	if err == nil {
		return
	}
	s.log.Warn("delivery not settled, it is handed out again", "stream", h.Stream, "seq", h.Seq, "error", err)
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	if err := h.Settle(settle, stream.Again(againAfter)); err != nil {
		s.log.Debug("message left to its deadline", "error", err)
	}
}

func (s *sender) send(ctx context.Context, h *stream.Held) error {
	d, err := decodeDelivery(h.Header, h.Data)
	if err != nil {
		return s.settleUnreadable(ctx, h, err)
	}
	started := time.Now()
	r := &result{delivery: d, attempt: newAttempt(d, started)}
	answer, v, err := s.attempt(ctx, r)
	if err != nil {
		return err
	}
	took := time.Since(started)
	r.verdict = v
	r.attempt.conclude(answer, v, took)
	s.metrics.attempted(v, took)
	s.report(ctx, r, took)
	return s.settle(ctx, h, r)
}

// result is a delivery and what an attempt came to.
type result struct {
	delivery     *delivery
	subscription *Subscription // nil if it is gone
	payload      []byte        // nil if it is not kept any more
	attempt      *attempt
	verdict      verdict
}

// attempt makes the request, or finds out why there is none to be made. An
// error is trouble with the broker: nothing was attempted.
func (s *sender) attempt(ctx context.Context, r *result) (answer, verdict, error) {
	d := r.delivery
	sub, err := s.subscription(ctx, d)
	switch {
	case errors.Is(err, stream.ErrNotFound):
		return answer{}, verdict{decision: dropped, reason: ReasonDeleted}, nil
	case err != nil:
		return s.interrupted(ctx, err)
	}
	r.subscription = sub
	r.payload, err = d.payload(ctx, s.broker)
	switch {
	case errors.Is(err, stream.ErrNotFound):
		return answer{detail: "the notification's body is no longer kept"}, verdict{decision: dead, reason: ReasonExpired}, nil
	case err != nil:
		return s.interrupted(ctx, err)
	case sub.Disabled != nil:
		return answer{}, verdict{decision: dead, reason: ReasonDisabled}, nil
	}
	if d.event.To != "" { // the URL of a subscription was judged when that was made
		if detail := badURL(d.event.To, s.addresses); detail != "" {
			return answer{detail: detail}, verdict{decision: dead, reason: ReasonAddress}, nil
		}
	}
	got := s.client.post(ctx, d, sub, r.payload, time.Now())
	if got.status == 0 && ctx.Err() != nil {
		return s.interrupted(ctx, ctx.Err())
	}
	v := s.policy.decide(got.outcome, d.attempt, time.Now(), rand.Float64())
	if d.event.To != "" && v.reason == ReasonRefused && d.attempt >= refusedToOne {
		v = verdict{decision: dead, reason: v.reason}
	}
	return got, v, nil
}

// refusedToOne is how many refusals (4xx) end the delivery to the one URL of an
// event: such URLs are good for minutes. The first can be early: Discord takes no
// follow-up before it has the answer that ingress gave.
const refusedToOne = 3

// subscription is that of a delivery; [stream.ErrNotFound] if it is gone.
func (s *sender) subscription(ctx context.Context, d *delivery) (*Subscription, error) {
	if d.event.To != "" {
		return onlyFor(d.event), nil
	}
	return s.subscriptions.get(ctx, d.event.Tenant, d.subscription)
}

// interrupted gives back what was cut short because the outbox stops. Other
// errors stay errors.
func (s *sender) interrupted(ctx context.Context, err error) (answer, verdict, error) {
	if ctx.Err() != nil {
		return answer{}, verdict{decision: giveBack, reason: ReasonShutdown}, nil
	}
	return answer{}, verdict{}, err
}

// settle stores what follows from the verdict, in this order, and ends the
// message. It is the only place that does. A crash in between leads to the
// same attempt again, never to none.
//
//	delivered   ATTEMPTS → ack
//	retry       ATTEMPTS → schedule the attempt n+1 → ack
//	gone        ATTEMPTS → disable the subscription → ack
//	dead        ATTEMPTS → DEAD → ack
//	dropped     ack
//	give back   give back; nothing is recorded
func (s *sender) settle(ctx context.Context, h *stream.Held, r *result) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	switch r.verdict.decision {
	case giveBack:
		return h.Settle(ctx, stream.GiveBack)
	case dropped:
		return h.Settle(ctx, stream.Ack)
	}
	record, err := r.attempt.message()
	if err != nil {
		return err
	}
	if _, err := s.broker.Publish(ctx, record); err != nil {
		return fmt.Errorf("record the attempt: %w", err)
	}
	switch d := r.delivery; r.verdict.decision {
	case retry:
		err = s.schedule(ctx, h, d, r.verdict.at)
	case gone:
		err = s.subscriptions.disable(ctx, d.event.Tenant, d.subscription, ReasonGone, r.attempt.At)
	case dead:
		_, err = s.broker.Publish(ctx, d.letter(r.payload, r.verdict.reason, r.attempt.Detail))
	}
	if err != nil {
		return err
	}
	return h.Settle(ctx, stream.Ack)
}

// schedule parks the next attempt in the stream that the delivery stands in.
func (s *sender) schedule(ctx context.Context, h *stream.Held, d *delivery, at time.Time) error {
	shard, err := stream.ShardOf(h.Stream)
	if err != nil {
		return err
	}
	next := *d
	next.attempt++
	return s.broker.Schedule(ctx, next.due(shard), stream.OutWait(shard, d.subscription, d.id), at)
}

// settleUnreadable puts away what is no delivery, whole, so that it cannot stand
// in the way of others.
func (s *sender) settleUnreadable(ctx context.Context, h *stream.Held, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	s.log.Error("a stored delivery cannot be read; it is kept as a dead letter",
		"stream", h.Stream, "seq", h.Seq, "reason", ReasonUnreadable, "error", cause)
	if err := publishUnreadable(ctx, s.broker, h, stream.DeadDelivery("unreadable"), cause); err != nil {
		return err
	}
	return h.Settle(ctx, stream.Ack)
}

// report writes the attempt's line. Of the URL it shows the host only: a path
// can hold a subscriber's token.
func (s *sender) report(ctx context.Context, r *result, took time.Duration) {
	a := r.attempt
	attrs := []slog.Attr{
		slog.String("delivery", a.Delivery), slog.String("notification", a.Notification),
		slog.String("type", a.Type), slog.String("tenant", a.Tenant),
		slog.String("subscription", a.Subscription), slog.Int("attempt", a.Attempt),
	}
	if r.subscription != nil {
		attrs = append(attrs, slog.String("host", hostOf(r.subscription.URL)))
	}
	if a.Response != nil {
		attrs = append(attrs, slog.Int("status", a.Response.Status))
	}
	attrs = append(attrs, slog.String("verdict", string(a.Verdict)), slog.String("reason", string(a.Reason)))
	if a.Detail != "" {
		attrs = append(attrs, slog.String("detail", a.Detail))
	}
	if a.Next != nil {
		attrs = append(attrs, slog.Time("next", *a.Next))
	}
	level := slog.LevelInfo
	if a.Verdict == dead || a.Verdict == gone {
		level = slog.LevelWarn
	}
	s.log.LogAttrs(ctx, level, "delivery attempted", append(attrs, slog.Int64("duration_us", took.Microseconds()))...)
}

func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Host
}
