package console

import (
	"context"

	"github.com/belay-hooks/belay/internal/jobs"
	"github.com/belay-hooks/belay/internal/redrive"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/stream"
)

// driver sees a job through.
type driver struct {
	*Server
	*jobs.Driver
}

// drive drives jobs until ctx ends.
func (s *Server) drive(ctx context.Context) {
	s.board.Drive(ctx, s.log, func(ctx context.Context, lease *jobs.Driver, j *standing.Job) error {
		d := &driver{s, lease}
		if j.Kind == standing.JobReplay {
			return d.replay(ctx, j)
		}
		return d.settleAll(ctx, j)
	}, standing.JobRedrive, standing.JobDiscard, standing.JobReplay)
}

// settleAll redrives or discards the dead letters that a job selects. What is settled
// is not among the open any more.
func (d *driver) settleAll(ctx context.Context, j *standing.Job) error {
	if err := d.recount(ctx, j); err != nil {
		return err
	}
	o := redrive.Order{Verb: standing.Redriven, Start: j.At == "start", Run: j.Run, By: j.By, Why: j.Why, Job: j.ID}
	if j.Kind == standing.JobDiscard {
		o.Verb = standing.Discarded
	}
	next := func(ctx context.Context, cursor uint64, most int) (page []stream.LetterID, after uint64, err error) {
		err = d.scan(ctx, open, j.Filter, cursor, func(l *standing.Letter) bool {
			switch {
			case l.Seq > j.Border:
				return false
			case len(page) == most:
				after = l.Seq
				return false
			}
			page = append(page, l.LetterID)
			return true
		})
		return page, after, err
	}
	return jobs.Pages(ctx, d.Driver, j, next, func(ctx context.Context, id stream.LetterID) error {
		return d.desk.Settle(ctx, id, o)
	})
}

// recount makes up for what a driver that died has not noted.
func (d *driver) recount(ctx context.Context, j *standing.Job) error {
	left, err := d.openLetters(ctx, j)
	j.Handled = j.Total - min(j.Total, left+j.Skipped)
	return err
}
