package worker

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// task is one event in the hands of a chain: what came in, or what the chain
// had parked.
type task struct {
	stream.Place
	held    *stream.Held
	parked  bool // held is the message of RETRY, not the one of IN
	turn    int  // of a parked event: the turn that is due, from 1
	touched bool // the chain may have worked on it before
	kept    bool // it has an entry in PROGRESS
	counted bool // its beginning is counted there
	// revision of that entry, when it was read or written here; 0 without one.
	revision uint64
	// lease says for how long the shard of an ordered chain is ours; nil: the event
	// is not in its key's line.
	lease *stream.Lease

	replay *replay // that the event was handed out by; nil: another way

	large int64 // bytes that its body takes of those for large ones

	reference string // of a parked event: where its body is if not with it; see standing.Turn

	event    *event.Event // nil until there is something to run
	progress standing.Progress
}

func (r *runner) handleParked(ctx context.Context, h *stream.Held) {
	t := &task{held: h, parked: true, touched: true}
	var err error
	if t.Place, err = stream.ParseRetry(h.Subject); err == nil {
		t.turn, err = standing.TurnOf(h.Header)
	}
	if err != nil || t.Shard >= len(r.ledgers) {
		r.log.Error("a parked event cannot be read and is dropped; its progress is kept", "subject", h.Subject, "error", err)
		r.tell(ctx, h, stream.Ack)
		return
	}
	r.handle(ctx, t)
}

// settleLate bounds the settlement of an event whose handlers ended after the
// grace period: it must fit between that and the end of the program's own.
const settleLate = 3 * time.Second

// lateToo lets handlers that ended although the worker must stop at once, which did
// their work, have that written.
func lateToo(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() == nil {
		return ctx, func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), settleLate)
}

// handle takes an event from its message to its settlement. It is the one place
// that tells the broker what becomes of the message.
func (r *runner) handle(ctx context.Context, t *task) {
	defer r.giveRoom(t)
	verdict, err := r.prepare(ctx, t)
	switch {
	case err != nil:
		r.log.Warn("event not handled yet, it is handed out again", "seq", t.Seq, "shard", t.Shard, "error", err)
		verdict = stream.Again(time.Second)
	case t.event != nil:
		verdict = r.work(ctx, t)
	default:
		r.say(ctx, t, stream.Answer{}) // nothing is run, so there is nothing to wait for
	}
	r.tell(ctx, t.held, verdict)
}

// work runs the chain over the event and makes what comes of it durable.
func (r *runner) work(ctx context.Context, t *task) stream.Verdict {
	began := time.Now()
	leave, o := r.enter(ctx, t)
	if o.kind == "" {
		o = r.execute(ctx, t)
	}
	leave()
	t.held.Leave()
	r.answer(ctx, t, o)
	ctx, cancel := lateToo(ctx)
	defer cancel()
	verdict, o, err := r.settle(ctx, t, o)
	if err != nil {
		// Nothing is lost: the message is not acknowledged.
		r.log.Warn("event not settled, it is handed out again",
			"id", t.event.ID, "outcome", o.kind, "error", err)
		return stream.GiveBack
	}
	r.report(ctx, t, o, time.Since(began))
	return verdict
}

// tell tells the broker the verdict. If it does not get there the message is
// handed out again, and is known by what was recorded.
func (r *runner) tell(ctx context.Context, h *stream.Held, v stream.Verdict) {
	if err := h.Settle(ctx, v); err != nil {
		r.log.Debug("message left to its deadline", "error", err)
	}
}

// prepare reads the event and where the chain stands in it. Where there is
// something to run the task has its event after that; else the verdict is the
// message's.
func (r *runner) prepare(ctx context.Context, t *task) (stream.Verdict, error) {
	if t.touched {
		if err := r.readProgress(ctx, t); err != nil {
			return stream.Verdict{}, err
		}
	}
	if t.Run > 0 && !t.kept {
		// The chain's patience with what is long stored begins now.
		t.progress.Since = time.Now().UTC()
	}
	switch p := &t.progress; {
	case p.Outcome != "":
		// It ended, and the process died before the message was acknowledged.
		return r.record(ctx, t, outcome{kind: outcomeKind(p.Outcome)})
	case t.turn < p.Turn:
		return r.parkAgain(ctx, t)
	case t.parked && !t.kept:
		return r.settleForgotten(ctx, t)
	case t.turn > p.Turn:
		// The broker has crashed and lost what was stored last, but for the message of
		// this turn. What is known goes on.
		p.Turn = t.turn
	}
	e, err := r.readEvent(ctx, t)
	switch {
	case gone(err):
		return r.settleUnreadable(ctx, t, err)
	case err != nil:
		return stream.Verdict{}, err
	case r.early(t):
		return r.park(ctx, t, e, t.progress.Until)
	case t.replay != nil && !(r.chain.Selects(e) && t.replay.job.Filter.Event(e)):
		return stream.Ack, nil
	case t.replay == nil && !t.parked && !r.chain.Selects(e):
		return r.pass(ctx, t)
	}
	t.event = e
	e.Run = t.Run
	return stream.Verdict{}, nil
}

// An event that another configuration may select is left to its workers so often,
// and for so long each time.
const (
	maxPassed = 30
	passFor   = time.Second
)

// pass settles an event that the chain does not select. The broker's filters may
// be wider than the chain's patterns; but while a new configuration is rolled out
// they are those of another one.
func (r *runner) pass(ctx context.Context, t *task) (stream.Verdict, error) {
	foreign, err := r.incoming[t.Shard].Foreign(ctx)
	if err == nil && foreign && t.held.Deliveries <= maxPassed {
		return stream.Again(passFor), nil
	}
	return stream.Ack, err
}

// gone reports whether an event will never be read.
func gone(err error) bool {
	return errors.Is(err, stream.ErrUnreadable) || errors.Is(err, stream.ErrNotFound)
}

// readEvent decodes the event, which a parked message may only refer to.
func (r *runner) readEvent(ctx context.Context, t *task) (*event.Event, error) {
	b := r.config.Broker
	if reference := event.HeaderValue(t.held.Header, standing.HeaderReference); t.parked && reference != "" {
		t.reference = reference
		stored, err := b.Get(ctx, stream.In(t.Shard), t.Seq)
		if seq, e := strconv.ParseUint(reference, 10, 64); e == nil && reference != standing.InPlace {
			stored, err = b.Get(ctx, stream.Dead, seq)
		}
		if err != nil {
			return nil, err
		}
		if err := r.takeRoom(ctx, t, stored.Header); err != nil {
			return nil, err
		}
		return b.ReadEvent(ctx, stored)
	}
	if err := r.takeRoom(ctx, t, t.held.Header); err != nil {
		return nil, err
	}
	return b.Event(ctx, t.held)
}
