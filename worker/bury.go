package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/stream"
)

// bury stores the event whole as a dead letter. Where the broker's limit of headers
// does not allow that, it leaves out what is missed least: an event that cannot be
// given up would be tried for ever.
func (r *runner) bury(ctx context.Context, t *task, o *outcome) error {
	header, data := t.event.Encode()
	l := r.letter(t, *o)
	l.Whole, l.Values = true, t.progress.Values
	err := r.publishDead(ctx, t, l, header, data)
	for _, leaveOut := range []func(){
		func() { l.ValuesLeftOut, l.Values = len(l.Values) > 0, nil },
		func() { l.Failures = l.Failures[max(len(l.Failures), 1)-1:] },
		func() { l.Failures = nil },
		func() {
			bare := *t.event
			bare.Header = nil
			header, data = bare.Encode()
		},
	} {
		if !errors.Is(err, stream.ErrTooLarge) {
			break
		}
		leaveOut()
		err = r.publishDead(ctx, t, l, header, data)
	}
	if err == nil && l.ValuesLeftOut && o.reason != reasonTooLarge {
		t.kept, o.keepValues = true, true
	}
	return err
}

// settleForgotten gives up a parked event of which it is not known any more where
// the chain stood in it. The event itself may be whole.
func (r *runner) settleForgotten(ctx context.Context, t *task) (stream.Verdict, error) {
	cause := fmt.Errorf("where the chain stood in the event: %w", stream.ErrNotFound)
	// The letters that were redriven before are others.
	t.progress.Redrives = standing.RedrivesOf(t.held.Header)
	e, err := r.readEvent(ctx, t)
	switch {
	case gone(err):
		return r.settleUnreadable(ctx, t, cause)
	case err != nil:
		return stream.Verdict{}, err
	}
	t.event = e
	defer func() { t.event = nil }() // it is not to be run
	o := outcome{kind: dead, reason: reasonExpired, err: cause}
	if err := r.bury(ctx, t, &o); err != nil {
		return stream.Verdict{}, err
	}
	return r.endUnrun(ctx, t, o)
}

// settleUnreadable gives up what is no event, or whose body is gone.
func (r *runner) settleUnreadable(ctx context.Context, t *task, cause error) (stream.Verdict, error) {
	o := outcome{kind: dead, reason: reasonUnreadable, err: cause}
	if errors.Is(cause, stream.ErrNotFound) {
		o.reason = reasonExpired
	}
	l := r.letter(t, o)
	err := r.publishDead(ctx, t, l, stream.Portable(t.held.Header), t.held.Data)
	if errors.Is(err, stream.ErrTooLarge) {
		err = r.publishDead(ctx, t, l, map[string][]string{}, t.held.Data)
	}
	if err != nil {
		return stream.Verdict{}, err
	}
	return r.endUnrun(ctx, t, o)
}

// endUnrun ends an event that was given up without a handler having run.
func (r *runner) endUnrun(ctx context.Context, t *task, o outcome) (stream.Verdict, error) {
	v, err := r.end(ctx, t, o)
	if err != nil {
		return v, err
	}
	r.log.Error("event given up", "shard", t.Shard, "seq", t.Seq, "run", t.Run, "reason", o.reason, "error", o.err)
	r.metrics.settled(r.chain.Name, o)
	return v, nil
}

func (r *runner) letter(t *task, o outcome) *standing.Letter {
	return &standing.Letter{
		LetterID: stream.LetterID{Chain: r.chain.Name, Place: t.Place, Redrives: t.progress.Redrives},
		Handler:  o.handler, Order: t.progress.Order, Reason: string(o.reason),
		Attempts: t.progress.Total, Failures: t.progress.Failures,
	}
}

func (r *runner) publishDead(ctx context.Context, t *task, l *standing.Letter, header map[string][]string, data []byte) error {
	header = maps.Clone(header)
	if err := l.Describe(header, len(data)); err != nil {
		return err
	}
	return stream.WaitOut(ctx, func() error {
		_, err := r.config.Broker.Publish(ctx, stream.Message{
			Subject: stream.DeadEvent(l.LetterID), Header: header, Data: data,
			ID: l.String(), Parts: stream.DeadEventParts(r.chain.Name),
		})
		return err
	})
}
