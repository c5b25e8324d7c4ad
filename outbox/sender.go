package outbox

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"net/url"
	"sync"
	"time"

	"github.com/belay-hooks/belay/internal/deadline"
	"github.com/belay-hooks/belay/internal/routine"
	"github.com/belay-hooks/belay/pkg/stream"
)

// settleWithin bounds the writes that settle a delivery. They are not cut short
// when the outbox stops: the request has been made, and what came of it would
// be lost. A broker that has died meanwhile never answers, so a write is tried
// again after a while.
const (
	settleWithin = 20 * time.Second
	writeWithin  = 3 * time.Second
)

// The pause before a message is handed out again whose settling failed: a delivery has
// been posted then, and is each time.
const (
	againAfter  = 2 * time.Second
	againAtMost = 5 * time.Minute
)

// againIn is that pause; it doubles each time.
func againIn(h *stream.Held) time.Duration {
	const doubled = 8 // times, to more than againAtMost
	return min(againAfter<<min(max(h.Deliveries-1, 0), doubled), againAtMost)
}

// sender makes the attempts of deliveries.
type sender struct {
	broker        *stream.Broker
	subscriptions *subscriptions
	lanes         *lanes
	client        *client
	addresses     addressPolicy
	policy        policy
	history       history
	disableAfter  time.Duration // 0: never
	metrics       *metrics
	log           *slog.Logger
	routine       *routine.Lines
	settling      *deadline.Shared // bounds the settlement of a delivery
	writing       *deadline.Shared // and one try of one of its writes
}

// shard is an OUT stream that this process owns: it has all deliveries of the
// subscriptions in there, until it is given up.
type shard struct {
	*sender
	number int
	fetch  context.Context // ends when no more is to be begun
	lease  *stream.Lease
	ledger *stream.Ledger
	turn   string // marks what took its turn in a subscription's rate here
	pauses pauses
	idle   chan string // the subscriptions whose lanes stand idle: see [shard.recall]
	fails  fails
}

// own makes the attempts of the deliveries in a shard until fetch ends.
func (s *sender) own(fetch, work context.Context, c *stream.Consumer, number int, lease *stream.Lease) {
	defer s.lanes.forget(number, s.broker.Shards())
	s.log.Info("shard of deliveries taken over", "shard", number)
	owned := &shard{
		sender: s, number: number, fetch: fetch, lease: lease, turn: rand.Text(),
		ledger: s.broker.Ledger(senderLedger, number), idle: make(chan string, idleLanes),
	}
	var beside sync.WaitGroup
	beside.Go(func() { owned.wake(fetch) })
	beside.Go(func() { owned.recall(fetch) })
	defer beside.Wait()
	pull := s.lanes.slots + heldBesides
	c.Run(fetch, work, stream.RunConfig{
		Pull: pull, Ask: askedFor, Slots: stream.NewSlots(pull), Ledger: owned.ledger, Handle: owned.handle,
	})
	s.log.Info("shard of deliveries given up", "shard", number)
}

// handle makes one attempt of the delivery that h holds, or parks it, and settles
// it.
func (s *shard) handle(ctx context.Context, h *stream.Held) {
	err := s.send(ctx, h)
	if err == nil {
		return
	}
	s.log.Warn("delivery not settled, it is handed out again", "stream", h.Stream, "seq", h.Seq, "error", err)
	if err := h.Settle(s.settling.Context(), stream.Again(againIn(h))); err != nil {
		s.log.Debug("message left to its deadline", "error", err)
	}
}

func (s *shard) send(ctx context.Context, h *stream.Held) error {
	d, err := decodeDelivery(h.Header, h.Data)
	if err != nil {
		return s.settleUnreadable(h, err)
	}
	r := &result{delivery: d}
	if r.verdict, err = s.prepare(ctx, r); err != nil {
		return err
	}
	if r.verdict.decision == "" {
		put := held(r.subscription)
		if put.cause == "" {
			r.pass, put = s.lanes.enter(s.fetch, r.subscription, s.entryOf(d))
		}
		if r.pass == nil {
			return s.park(h, d, put)
		}
	}
	started := time.Now()
	r.attempt = newAttempt(d, started)
	answer, err := s.attempt(ctx, r)
	if err != nil {
		return err
	}
	took := time.Since(started)
	r.attempt.conclude(answer, r.verdict, took)
	s.metrics.attempted(r.verdict, took)
	s.report(ctx, r, took)
	return s.settle(h, r)
}

// entryOf is how a delivery enters its lane.
func (s *shard) entryOf(d *delivery) entry {
	switch {
	case d.order == orderRetry:
		return entryOrdered
	case d.turn == s.turn:
		return entryPaid
	}
	return entryNew
}

// result is a delivery and what an attempt came to.
type result struct {
	delivery     *delivery
	subscription *Subscription // nil if it is gone
	pass         *pass         // nil if there is no request to be made
	payload      []byte        // nil if it is not kept any more
	attempt      *attempt
	recorded     recorded
	verdict      verdict
}

// recorded is how far the record of an attempt is.
type recorded int

const (
	recordUntried recorded = iota
	recordTried            // it is not known whether it is stored
	recordStored
)

// prepare finds out whether there is a request to be made: then it decides nothing.
// An error is trouble with the broker: nothing was attempted.
func (s *shard) prepare(ctx context.Context, r *result) (verdict, error) {
	if r.delivery.order == orderCancel {
		return verdict{decision: cancelled, reason: ReasonCancelled}, nil
	}
	sub, err := s.subscription(ctx, r.delivery)
	switch {
	case errors.Is(err, stream.ErrNotFound):
		return verdict{decision: cancelled, reason: ReasonDeleted}, nil
	case err != nil:
		return s.interrupted(ctx, err)
	}
	r.subscription = sub
	if sub.Disabled != nil {
		return verdict{decision: dead, reason: ReasonDisabled}, nil
	}
	return verdict{}, nil
}

// attempt makes the request if there is one to be made, and decides what follows.
func (s *shard) attempt(ctx context.Context, r *result) (answer, error) {
	end := ended{cut: true}
	if r.pass != nil {
		defer func() { s.lanes.leave(r.pass, end) }()
	}
	d := r.delivery
	var err error
	r.payload, err = d.payload(ctx, s.broker)
	switch {
	case errors.Is(err, stream.ErrNotFound):
		if r.pass == nil {
			return answer{}, nil
		}
		r.verdict = verdict{decision: dead, reason: ReasonExpired}
		return answer{detail: "the notification's body is no longer kept"}, nil
	case err != nil:
		r.verdict, err = s.interrupted(ctx, err)
		return answer{}, err
	case r.pass == nil:
		return answer{}, nil
	}
	if d.event.To != "" { // the URL of a subscription was judged when that was made
		if detail := badURL(d.event.To, s.addresses); detail != "" {
			r.verdict = verdict{decision: dead, reason: ReasonAddress}
			return answer{detail: detail}, nil
		}
	}
	if !s.lease.Held() {
		r.verdict = verdict{decision: giveBack, reason: ReasonShutdown}
		return answer{}, nil
	}
	got := s.client.post(ctx, d, r.subscription, r.payload, time.Now())
	if got.status == 0 && ctx.Err() != nil {
		r.verdict, err = s.interrupted(ctx, ctx.Err())
		return got, err
	}
	now := time.Now()
	end = endOf(got.outcome, now)
	r.verdict = s.policyOf(r.subscription).decide(got.outcome, d.attempt-d.base, now, mathrand.Float64())
	if d.event.To != "" && r.verdict.reason == ReasonRefused && d.attempt >= refusedToOne {
		r.verdict = verdict{decision: dead, reason: r.verdict.reason}
	}
	return got, nil
}

// policyOf is the schedule of a subscription's attempts.
func (s *sender) policyOf(sub *Subscription) policy {
	if sub.Schedule == nil {
		return s.policy
	}
	waits := make([]time.Duration, len(sub.Schedule))
	for i, wait := range sub.Schedule {
		waits[i] = time.Duration(wait)
	}
	return policy{schedule: waits}
}

// refusedToOne is how many refusals (4xx) end the delivery to the one URL of an
// event: such URLs are good for minutes. The first can be early: Discord takes no
// follow-up before it has the answer that ingress gave.
const refusedToOne = 3

// subscription is that of a delivery; [stream.ErrNotFound] if it is gone.
func (s *shard) subscription(ctx context.Context, d *delivery) (*Subscription, error) {
	if d.event.To != "" {
		return onlyFor(d.event), nil
	}
	return s.subscriptions.get(ctx, d.event.Tenant, d.subscription)
}

// interrupted gives back what was cut short because the outbox stops. Other
// errors stay errors.
func (s *sender) interrupted(ctx context.Context, err error) (verdict, error) {
	if ctx.Err() != nil {
		return verdict{decision: giveBack, reason: ReasonShutdown}, nil
	}
	return verdict{}, err
}

// report writes the attempt's line; of those that went well there may be too many for
// a line each. Of the URL it shows the host only: a path can hold a subscriber's token.
func (s *sender) report(ctx context.Context, r *result, took time.Duration) {
	a := r.attempt
	routine := a.Verdict == delivered && a.Attempt == 1
	if routine && !s.routine.Due(ctx) {
		return
	}
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
	attrs = append(attrs, slog.Int64("duration_us", took.Microseconds()))
	if routine {
		attrs = append(attrs, s.routine.Omitted())
	}
	s.log.LogAttrs(ctx, level, "delivery attempted", attrs...)
}

func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Host
}
