package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/belay-hooks/belay/internal/jobs"
	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/stream"
)

const (
	// defaultReplays is how many events of a replay each worker handles at once,
	// beside those that come in.
	defaultReplays = 8
	maxReplays     = 1000
	// replayEvery is how often it is looked how far a replay is.
	replayEvery = 2 * time.Second
)

func (s *Server) listReplays(w http.ResponseWriter, r *http.Request, _ string) error {
	return s.list(w, r, func(j *standing.Job) bool { return j.Kind == standing.JobReplay })
}

func (s *Server) createReplay(w http.ResponseWriter, r *http.Request, who string) error {
	f, err := bodyOf(w, r)
	if err != nil {
		return err
	}
	f.Only("any_order", "chain", "concurrency", "dry_run", "filter", "why")
	j := standing.Job{
		Kind: standing.JobReplay, By: who, Why: f.Text("why", maxText), Chain: f.Text("chain", maxText),
		Concurrency: int(cmp.Or(f.Integer("concurrency", 1, maxReplays), defaultReplays)),
	}
	dry, anyOrder := f.Bool("dry_run"), f.Bool("any_order")
	if !standing.ValidChain(j.Chain) {
		f.Bad("want the chain that is to handle the events", "chain")
	}
	if j.Filter, err = fieldsFilter(f, "filter"); err == nil {
		if j.Filter.Chain != "" || j.Filter.Reason != "" {
			f.Bad("a replay is of stored events: want from, until, source and type only", "filter")
		}
		err = f.Err()
	}
	if err != nil {
		return err
	}
	c, err := s.chain(r.Context(), j.Chain)
	switch {
	case err != nil:
		return err
	case c.Ordered && !anyOrder:
		return rest.NewProblem(http.StatusConflict, "the chain is ordered, and a replay runs beside its order: say any_order if that does no harm")
	}
	j.Subjects = j.ReplayFilters(c.Filters)
	if err := s.measure(r.Context(), &j); err != nil {
		return err
	}
	if dry {
		rest.WriteJSON(w, http.StatusOK, "application/json", jobs.Count{Total: j.Total, DryRun: true})
		return nil
	}
	if j.Run, err = s.desk.NextRun(r.Context(), j.Chain); err != nil {
		return err
	}
	return s.begin(w, r, &j)
}

// measure finds the borders of a replay, and how much lies within.
func (s *Server) measure(ctx context.Context, j *standing.Job) error {
	for shard := range s.broker.Shards() {
		in := stream.In(shard)
		_, border, err := s.broker.Bounds(ctx, in)
		if err == nil && !j.Filter.Until.IsZero() {
			var after uint64
			if after, err = s.broker.SeqAt(ctx, in, j.Filter.Until); after > 0 {
				border = min(border, after-1)
			}
		}
		if err != nil {
			return err
		}
		j.Borders = append(j.Borders, border)
		if len(j.Subjects) == 0 {
			continue // nothing is of the chain
		}
		// In this order: what comes in between is one too many, and not one too few, which
		// would make a few events look like none.
		after, err := s.broker.Count(ctx, stream.Range{Stream: in, Filters: j.Subjects, FromSeq: border + 1})
		if err != nil {
			return err
		}
		all, err := s.broker.Count(ctx, stream.Range{Stream: in, Filters: j.Subjects, From: j.Filter.From})
		if err != nil {
			return err
		}
		j.Total += all - min(all, after)
	}
	return nil
}

// replay sees a replay through: its consumers are set up, which workers of the chain
// take from; when all is handed out and settled they go.
func (d *driver) replay(ctx context.Context, j *standing.Job) error {
	if !j.HasEnded() {
		if mine, err := d.runReplay(ctx, j); err != nil || !mine && !j.HasEnded() {
			return err
		}
	}
	for shard := range j.Borders {
		if err := d.broker.RemoveConsumer(ctx, stream.In(shard), j.ReplayConsumer()); err != nil {
			return err
		}
	}
	j.Clean = true
	_, err := d.Note(ctx, j)
	d.log.Info("replay ended", "job", j.ID, "chain", j.Chain, "run", j.Run, "state", j.State, "handled", j.Handled, "total", j.Total)
	return err
}

// runReplay returns when the replay has ended, or is not driven here any more.
func (d *driver) runReplay(ctx context.Context, j *standing.Job) (mine bool, err error) {
	if !j.Ready && len(j.Subjects) > 0 {
		for shard := range j.Borders {
			if _, err := d.broker.EnsureConsumer(ctx, stream.ConsumerConfig{
				Stream: stream.In(shard), Name: j.ReplayConsumer(), Filters: j.Subjects,
				Start: stream.Start{Earliest: j.Filter.From.IsZero(), At: j.Filter.From},
			}); err != nil {
				return false, err
			}
		}
		j.Ready = true
		if mine, err := d.Note(ctx, j); !mine {
			return mine, err
		}
	}
	tick := time.NewTicker(replayEvery)
	defer tick.Stop()
	for {
		left, err := d.leftOf(ctx, j)
		if err != nil {
			return false, err
		}
		j.Handled = j.Total - min(j.Total, left)
		if left == 0 {
			j.State, j.Ended = standing.JobDone, time.Now().UTC()
		}
		if mine, err := d.Note(ctx, j); !mine {
			return mine, err
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-tick.C:
		}
	}
}

// leftOf is how many events of a replay are not settled yet.
func (d *driver) leftOf(ctx context.Context, j *standing.Job) (left uint64, err error) {
	if len(j.Subjects) == 0 {
		return 0, nil
	}
	for shard, border := range j.Borders {
		in := stream.In(shard)
		consumer, err := d.broker.Consumer(ctx, in, j.ReplayConsumer())
		if errors.Is(err, stream.ErrNotFound) {
			continue // it has ended
		}
		if err != nil {
			return 0, err
		}
		at, err := consumer.Standing(ctx)
		if err != nil {
			return 0, err
		}
		if at.Floor >= border {
			continue
		}
		left += uint64(at.Held)
		if at.Delivered >= border {
			continue
		}
		within, err := d.within(ctx, j, in, at.Delivered+1, border)
		if err != nil {
			return 0, err
		}
		left += within
	}
	return left, nil
}

// within is how many events of a replay a stream holds, from one number up to another:
// no less, while others come in. What the consumer says of its backlog lags behind.
func (s *Server) within(ctx context.Context, j *standing.Job, in string, from, border uint64) (uint64, error) {
	// In this order: with what comes in between, more would be taken away than there
	// was, and a replay end before its events.
	after, err := s.broker.Count(ctx, stream.Range{Stream: in, Filters: j.Subjects, FromSeq: border + 1})
	if err != nil {
		return 0, err
	}
	all, err := s.broker.Count(ctx, stream.Range{Stream: in, Filters: j.Subjects, FromSeq: from})
	return all - min(all, after), err
}
