package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/belay-hooks/belay/internal/jobs"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// drive drives the jobs about deliveries until ctx ends.
func (s *Server) drive(ctx context.Context) {
	s.board.Drive(ctx, s.log, func(ctx context.Context, d *jobs.Driver, j *standing.Job) error {
		if j.Kind == standing.JobRecover {
			return s.history.recover(ctx, d, j, s.matcher)
		}
		return s.history.redeliver(ctx, d, j)
	}, standing.JobRedeliver, standing.JobRecover)
}

// letterRef is where a dead letter stands.
type letterRef struct {
	seq uint64
	id  string
}

// String is the id of the delivery.
func (l letterRef) String() string { return l.id }

// letters hands the dead letters of a job that are left to each.
func (h history) letters(ctx context.Context, j *standing.Job, cursor uint64, each func(letterRef) (more bool)) error {
	r, read := letterRange(j.Tenant, j.Filter), h.letterReader(j.Filter)
	r.FromSeq = cursor
	return h.broker.Scan(ctx, r, func(m *stream.Stored) bool {
		if m.Seq > j.Border {
			return false
		}
		v, ok := read(m)
		return !ok || each(letterRef{m.Seq, v.ID})
	})
}

// countLetters is how many dead letters a job has still to settle.
func (h history) countLetters(ctx context.Context, j *standing.Job) (n uint64, err error) {
	err = h.letters(ctx, j, j.Cursor, func(letterRef) bool { n++; return true })
	return n, err
}

// redeliver puts back the dead letters that a job selects. What is put back is dead
// no more, so what a crash has cut is begun again.
func (h history) redeliver(ctx context.Context, d *jobs.Driver, j *standing.Job) error {
	left, err := h.countLetters(ctx, j)
	if err != nil {
		return err
	}
	j.Handled = j.Total - min(j.Total, left+j.Skipped)
	next := func(ctx context.Context, cursor uint64, most int) (page []letterRef, after uint64, err error) {
		err = h.letters(ctx, j, cursor, func(l letterRef) bool {
			if len(page) == most {
				after = l.seq
				return false
			}
			page = append(page, l)
			return true
		})
		return page, after, err
	}
	return jobs.Pages(ctx, d, j, next, func(ctx context.Context, l letterRef) error {
		letter, err := h.broker.Get(ctx, stream.Dead, l.seq)
		if errors.Is(err, stream.ErrNotFound) {
			return jobs.ErrSkip // somebody was faster
		}
		if err != nil {
			return err
		}
		d, err := decodeDelivery(letter.Header, letter.Data)
		if err != nil {
			return err
		}
		if err := h.sendable(ctx, d.event.Tenant, d.subscription); err != nil {
			return err
		}
		return h.redrive(ctx, d, letter, j.By)
	})
}

// missed is a notification that a subscription may have missed.
type missed struct {
	id    string
	event *event.Event
	place place
	waits bool
}

// String is the id of the delivery.
func (m missed) String() string { return m.id }

// recovery sends a subscription what it wanted and has not got.
type recovery struct {
	history
	job     *standing.Job
	matcher *matcher
	done    map[string]bool // deliveries that have ended: delivered, gone, cancelled
	read    uint64          // the last record that was read of them
}

// endedVerdicts are those after which nothing is missed.
var endedVerdicts = []decision{delivered, gone, cancelled}

// recover sends what was notified since the job's time, as the subscription is now:
// what it was too late for, what it was paused or disabled for, and what was given up.
func (h history) recover(ctx context.Context, d *jobs.Driver, j *standing.Job, m *matcher) error {
	r := &recovery{history: h, job: j, matcher: m, done: make(map[string]bool)}
	return jobs.Pages(ctx, d, j, r.next, r.settle)
}

// notifications selects what is stored of a tenant's notifications from a number on,
// or from a time.
func notifications(tenant string, cursor uint64, from time.Time) stream.Range {
	return stream.Range{
		Stream: stream.Notify, FromSeq: cursor, From: from,
		Filters: []string{stream.NotifySubject(tenant), stream.NotifySubject(event.AllTenants)},
	}
}

// next is a page of what the subscription wants. What stands in it was fanned out. Of
// each it is known first whether it waits, and then whether it has ended: a delivery
// that has ended in between is not sent again.
func (r *recovery) next(ctx context.Context, cursor uint64, most int) (page []missed, after uint64, err error) {
	j := r.job
	sub, err := r.subscriptions.get(ctx, j.Tenant, j.Filter.Subscription)
	if errors.Is(err, stream.ErrNotFound) {
		return nil, 0, nil // there is nobody to be told
	}
	if err != nil {
		return nil, 0, err
	}
	var broken error
	err = r.broker.Scan(ctx, notifications(j.Tenant, cursor, j.Filter.From), func(m *stream.Stored) bool {
		switch {
		case m.Seq > j.Border:
			return false
		case len(page) == most:
			after = m.Seq
			return false
		}
		var one missed
		var wanted bool
		if one, wanted, broken = r.look(ctx, sub, m); wanted {
			page = append(page, one)
		} else {
			j.Skipped++
		}
		return broken == nil
	})
	if err = errors.Join(err, broken); err != nil {
		return nil, 0, err
	}
	return page, after, r.refresh(ctx)
}

// look tells whether a subscription wants a notification, and whether a delivery of
// it waits.
func (r *recovery) look(ctx context.Context, sub *Subscription, m *stream.Stored) (one missed, wanted bool, err error) {
	e, err := event.Decode(m.Header, m.Data)
	if err != nil || e.To != "" || !sub.wants(e.Name()) || concerns(e, sub) {
		return one, false, nil
	}
	at := place{seq: m.Seq, stored: m.Time, inParts: stream.SizeInParts(m.Header) > 0}
	if at.inParts && asks([]*Subscription{sub}, e) {
		whole, err := r.broker.ReadEvent(ctx, m)
		switch {
		case err == nil:
			e = whole
		case !errors.Is(err, stream.ErrNotFound) && !errors.Is(err, stream.ErrUnreadable):
			return one, false, err
		}
	}
	if len(r.matcher.hold([]*Subscription{sub}, e)) == 0 {
		return one, false, nil
	}
	one = missed{id: deliveryID(e, at.stored, sub.ID), event: e, place: at}
	_, _, err = r.waiting(ctx, one.id, sub.ID)
	if one.waits = err == nil; errors.Is(err, stream.ErrNotFound) {
		err = nil
	}
	return one, err == nil, err
}

// refresh learns which deliveries have ended since it was called last.
func (r *recovery) refresh(ctx context.Context) error {
	rg := stream.Range{Stream: stream.Attempts, HeadersOnly: true, From: r.job.Filter.From.Add(-beforeStored)}
	if r.read > 0 {
		rg.FromSeq = r.read + 1
	}
	for _, verdict := range endedVerdicts {
		rg.Filters = append(rg.Filters, stream.AttemptSubject(r.job.Tenant, r.job.Filter.Subscription, string(verdict)))
	}
	return r.broker.Scan(ctx, rg, func(m *stream.Stored) bool {
		if a, err := readAttempt(m); err == nil {
			r.done[a.Delivery] = true
		}
		r.read = m.Seq
		return true
	})
}

// settle sends one notification if it was missed.
func (r *recovery) settle(ctx context.Context, m missed) error {
	if m.waits || r.done[m.id] {
		return jobs.ErrSkip
	}
	sub, err := r.subscriptions.get(ctx, r.job.Tenant, r.job.Filter.Subscription)
	if errors.Is(err, stream.ErrNotFound) {
		return jobs.ErrSkip
	}
	if err != nil {
		return err
	}
	d := newDelivery(m.event, m.place, sub)
	if err := r.sendable(ctx, sub.Tenant, sub.ID); err != nil {
		return err
	}
	d.by = r.job.By
	letter, err := r.broker.Last(ctx, stream.Dead, stream.DeadDelivery(r.job.Tenant, sub.ID, d.id))
	if errors.Is(err, stream.ErrNotFound) {
		return r.put(ctx, d)
	}
	if err != nil {
		return err
	}
	if d, err = decodeDelivery(letter.Header, letter.Data); err != nil {
		return fmt.Errorf("delivery %s: %w", m.id, err)
	}
	return r.redrive(ctx, d, letter, r.job.By)
}
