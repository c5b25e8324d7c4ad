package worker

import (
	"context"
	"errors"

	"github.com/belay-hooks/belay/pkg/stream"
)

func (r *runner) readProgress(ctx context.Context, t *task) (err error) {
	t.progress, _, err = r.progress.Read(ctx, r.chain.Name, t.Place)
	if errors.Is(err, stream.ErrNotFound) && t.parked || err == nil && t.progress.Turn < t.turn {
		// It was stored before the message: a replica was asked that lags behind, or
		// it is lost.
		t.progress, _, err = r.progress.ReadNewest(ctx, r.chain.Name, t.Place)
	}
	t.kept = err == nil
	if errors.Is(err, stream.ErrNotFound) {
		return nil
	}
	return err
}

func (r *runner) writeProgress(ctx context.Context, t *task) error {
	t.kept = true
	return stream.WaitOut(ctx, func() error {
		return r.progress.Write(ctx, r.chain.Name, t.Place, t.progress)
	})
}

// endProgress writes that the chain has ended. A dead letter may have been
// redriven since it was stored, a moment ago: then what is there now stands.
func (r *runner) endProgress(ctx context.Context, t *task) error {
	return stream.WaitOut(ctx, func() error {
		for {
			now, revision, err := r.progress.Find(ctx, r.chain.Name, t.Place)
			if err != nil || now.Redrives > t.progress.Redrives {
				return err
			}
			err = r.progress.Replace(ctx, r.chain.Name, t.Place, t.progress, revision)
			if !errors.Is(err, stream.ErrConflict) {
				return err
			}
		}
	})
}
