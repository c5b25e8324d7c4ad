// Package redrive puts dead letters back into their chains, or discards them, in
// writes that may be cut short anywhere and then begun again.
package redrive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// Desk is where dead letters are settled.
type Desk struct {
	broker   *stream.Broker
	progress standing.Log
	state    *stream.Bucket

	// BeforeWrite lets a test end an order before a write, as a crash would. nil:
	// nothing does.
	BeforeWrite func(name string) error
}

// New returns the desk of a broker.
func New(b *stream.Broker) *Desk {
	return &Desk{broker: b, progress: standing.NewLog(b), state: b.Bucket(stream.State)}
}

// ErrNoLetter: there is no such dead letter.
var ErrNoLetter = rest.NewProblem(http.StatusNotFound, "there is no such dead letter")

// Order is what an operator wants done with dead letters.
type Order struct {
	// Verb is [standing.Redriven] or [standing.Discarded].
	Verb string
	// Start redrives from the start, in a new run: Run or, where that is 0, the next
	// one of the chain.
	Start bool
	Run   int
	// By is who orders it, Why the reason, Job the job that it is part of.
	By, Why, Job string
}

// Settle does with a dead letter what was ordered. Every arrow is a write that was
// confirmed before the next begins:
//
//	redriven, at the failed step   PROGRESS: redrives+1, turn+1 → RETRY: due, turn+1 → closed → letter deleted
//	redriven, from the start       PROGRESS: redrives+1, run r → PROGRESS of r: turn 1 → RETRY: due, run r → closed → letter deleted
//	discarded                      closed → letter deleted
//
// The first write of a redrive is a compare-and-set: of several who try, one
// begins. Who finds it done, after a crash or beside another, does what is missing
// and no more: the chain has ended, or the event is in RETRY, or it is put there
// in a turn of its own, beside which an older message is stale.
func (d *Desk) Settle(ctx context.Context, id stream.LetterID, o Order) error {
	l, m, err := d.Letter(ctx, id)
	if err != nil {
		return err
	}
	if l.Closed != nil {
		if err := d.deleteOpen(ctx, id); err != nil {
			return err
		}
		return rest.NewProblem(http.StatusConflict, fmt.Sprintf("the dead letter was %s by %s at %s",
			l.Closed.Verb, l.Closed.By, l.Closed.At.Format(time.RFC3339)))
	}
	c := standing.Closed{Verb: o.Verb, By: o.By, Why: o.Why, Job: o.Job, At: time.Now()}
	if o.Verb == standing.Redriven {
		if c.Run, err = d.putBack(ctx, l, m, o); err != nil {
			return err
		}
	} else if err := d.free(ctx, l); err != nil {
		return err
	}
	record := standing.Record(id, m, c)
	err = d.close(ctx, record)
	if errors.Is(err, stream.ErrTooLarge) {
		err = d.close(ctx, standing.Shortened(record))
	}
	if err != nil {
		return err
	}
	// Overwritten, so that an erasure of the event finds nothing of it left here.
	return d.write(ctx, "letter deleted", func() error { return d.broker.Delete(ctx, m, true) })
}

// close stores the record of what became of a letter.
func (d *Desk) close(ctx context.Context, record stream.Message) error {
	return d.write(ctx, "closed", func() error {
		_, err := d.broker.Publish(ctx, record)
		return err
	})
}

// write is one write of an order.
func (d *Desk) write(ctx context.Context, name string, f func() error) error {
	if d.BeforeWrite != nil {
		if err := d.BeforeWrite(name); err != nil {
			return err
		}
	}
	return stream.WaitOut(ctx, f)
}

// deleteOpen removes what a crash has left of a letter that is closed.
func (d *Desk) deleteOpen(ctx context.Context, id stream.LetterID) error {
	m, err := d.broker.Last(ctx, stream.Dead, stream.DeadEvent(id))
	if errors.Is(err, stream.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.broker.Delete(ctx, m, true)
}

// free fails if somebody has begun to redrive the letter.
func (d *Desk) free(ctx context.Context, l *standing.Letter) error {
	p, _, err := d.progress.Find(ctx, l.Chain, l.Place)
	if err == nil && p.Redrives > l.Redrives {
		err = rest.NewProblem(http.StatusConflict, "the dead letter is being redriven; redrive it again if that was cut short")
	}
	return err
}

// putBack gives the event of a letter back to its chain, and returns the new run if
// that is from the start.
func (d *Desk) putBack(ctx context.Context, l *standing.Letter, m *stream.Stored, o Order) (run int, err error) {
	e, err := d.runnable(ctx, l, m)
	if err != nil {
		return 0, err
	}
	reference, err := d.reference(ctx, l, e)
	if err != nil {
		return 0, err
	}
	for {
		p, revision, err := d.progress.Find(ctx, l.Chain, l.Place)
		switch {
		case err != nil:
			return 0, err
		case p.Redrives > l.Redrives:
			return p.Run, d.complete(ctx, l, e, reference, p.Run)
		case o.Start:
			if o.Run == 0 {
				if o.Run, err = d.NextRun(ctx, l.Chain); err != nil {
					return 0, err
				}
			}
			p.Redrives, p.Run = l.Redrives+1, o.Run
			// It stays ended: what is left of this run is stale.
			p.Outcome = outcomeDead
		default:
			if err := resume(&p, l); err != nil {
				return 0, err
			}
		}
		err = d.write(ctx, "progress", func() error {
			_, err := d.progress.Replace(ctx, l.Chain, l.Place, p, revision)
			return err
		})
		switch {
		case errors.Is(err, stream.ErrConflict):
			continue
		case err != nil:
			return 0, err
		case o.Start:
			return p.Run, d.complete(ctx, l, e, reference, p.Run)
		}
		return 0, d.due(ctx, l.Chain, l.Place, p, e, reference)
	}
}

const outcomeDead = "dead"

// resume sets a progress to the failed step, with all its attempts.
func resume(p *standing.Progress, l *standing.Letter) error {
	if len(p.Values) == 0 {
		if l.ValuesLeftOut {
			return rest.NewProblem(http.StatusConflict, "the values of the finished steps were too large to be kept: redrive it from the start")
		}
		p.Values = l.Values
	}
	p.Next, p.Order, p.Failures, p.Total = l.Handler, l.Order, l.Failures, l.Attempts
	p.Failed, p.Outcome, p.Run, p.Begun = 0, "", 0, 0
	p.Redrives = l.Redrives + 1
	p.Since = time.Now().UTC()
	p.Until = p.Since
	p.Turn++
	return nil
}

// complete makes sure that a redrive that was begun reaches the chain, once.
func (d *Desk) complete(ctx context.Context, l *standing.Letter, e *event.Event, reference string, run int) error {
	place := l.Place
	if run > 0 {
		place.Run = run
	}
	for {
		// First the progress, then what is parked: what is acknowledged in between has
		// changed the progress before, and the write below is refused.
		p, revision, err := d.progress.Find(ctx, l.Chain, place)
		if err != nil || p.Outcome != "" || run == 0 && p.Redrives > l.Redrives+1 {
			return err
		}
		if revision > 0 {
			parked, err := d.broker.Subjects(ctx, stream.Retry, stream.RetryAll(l.Chain, place))
			if err != nil || len(parked) > 0 {
				return err
			}
		}
		now := time.Now().UTC()
		if p.Since.IsZero() {
			p.Since = now
		}
		p.Turn, p.Until = p.Turn+1, now
		err = d.write(ctx, "progress of the run", func() error {
			_, err := d.progress.Replace(ctx, l.Chain, place, p, revision)
			return err
		})
		if errors.Is(err, stream.ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		return d.due(ctx, l.Chain, place, p, e, reference)
	}
}

// due stores the message that brings the event to its chain now.
func (d *Desk) due(ctx context.Context, chain string, place stream.Place, p standing.Progress, e *event.Event, reference string) error {
	m := standing.Once(standing.Turn(chain, place, p, e, reference), p.Turn)
	return d.write(ctx, "due", func() error {
		_, err := d.broker.Publish(ctx, m)
		return err
	})
}

// runnable is the whole event of a letter.
func (d *Desk) runnable(ctx context.Context, l *standing.Letter, m *stream.Stored) (*event.Event, error) {
	if !l.Whole {
		return nil, rest.NewProblem(http.StatusConflict, "what is left of the event cannot be run: discard it")
	}
	e, err := d.broker.ReadEvent(ctx, m)
	if errors.Is(err, stream.ErrNotFound) || errors.Is(err, stream.ErrUnreadable) {
		return nil, rest.NewProblem(http.StatusConflict, "the body of the event is gone: discard it")
	}
	return e, err
}

// reference is where a body stands that is too large to travel with its event: at
// the event's own place or, where that is gone, as a copy in DEAD. Empty: it travels
// along.
func (d *Desk) reference(ctx context.Context, l *standing.Letter, e *event.Event) (string, error) {
	if len(e.Body) <= standing.MaxParkedBody {
		return "", nil
	}
	_, err := d.broker.Get(ctx, stream.In(l.Shard), l.Seq)
	if !errors.Is(err, stream.ErrNotFound) {
		return standing.InPlace, err
	}
	header, data := e.Encode()
	receipt, err := d.broker.Publish(ctx, stream.Message{
		Subject: stream.DeadBody(l.Chain, l.Place), Header: header, Data: data, Parts: stream.DeadEventParts(l.Chain),
	})
	return strconv.FormatUint(receipt.Seq, 10), err
}

// NextRun is the number of a new run of the chain. No two get the same one.
func (d *Desk) NextRun(ctx context.Context, chain string) (int, error) {
	key := "run." + chain
	for {
		entry, err := d.state.Get(ctx, key)
		n := 1
		switch {
		case errors.Is(err, stream.ErrNotFound):
			_, err = d.state.Create(ctx, key, []byte("1"))
		case err != nil:
			return 0, err
		default:
			if n, err = strconv.Atoi(string(entry.Value)); err != nil {
				return 0, fmt.Errorf("the number of the last run of the chain %s: %w", chain, err)
			}
			n++
			_, err = d.state.Update(ctx, key, []byte(strconv.Itoa(n)), entry.Revision)
		}
		if !errors.Is(err, stream.ErrConflict) {
			return n, err
		}
	}
}

// Letter is a dead letter, open or closed, and its message.
func (d *Desk) Letter(ctx context.Context, id stream.LetterID) (*standing.Letter, *stream.Stored, error) {
	// What was closed may, for a moment or after a crash, still stand among the open.
	for _, subject := range []string{stream.DeadClosed(id), stream.DeadEvent(id)} {
		m, err := d.broker.Last(ctx, stream.Dead, subject)
		switch {
		case errors.Is(err, stream.ErrNotFound):
			continue
		case err != nil:
			return nil, nil, err
		}
		l, err := standing.ReadLetter(m)
		return l, m, err
	}
	return nil, nil, ErrNoLetter
}
