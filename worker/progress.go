package worker

import (
	"context"
	"errors"

	"github.com/belay-hooks/belay/pkg/stream"
)

// errOvertaken: somebody else has written since where the chain stands in the event.
// This process was cut off for so long that another one has the event now; or an
// operator has redriven or erased it.
var errOvertaken = errors.New("somebody else goes on with the event")

func (r *runner) readProgress(ctx context.Context, t *task) (err error) {
	t.progress, t.revision, err = r.progress.Find(ctx, r.chain.Name, t.Place)
	t.kept = t.revision > 0
	return err
}

// writeProgress stores where the chain stands, if nobody else has since it was read.
// It fails with [errOvertaken] otherwise.
func (r *runner) writeProgress(ctx context.Context, t *task) error {
	t.kept = true
	return stream.WaitOut(ctx, func() error {
		revision, err := r.progress.Replace(ctx, r.chain.Name, t.Place, t.progress, t.revision)
		switch {
		case err == nil:
			t.revision = revision
		case errors.Is(err, stream.ErrConflict):
			return r.lookAgain(ctx, t)
		}
		return err
	})
}

// lookAgain finds out who has written: nobody, where a broker that crashed has lost
// the end of its log.
func (r *runner) lookAgain(ctx context.Context, t *task) error {
	now, revision, err := r.progress.Find(ctx, r.chain.Name, t.Place)
	switch {
	case err != nil:
		return err
	case revision > t.revision || now.Redrives > t.progress.Redrives:
		return errOvertaken
	}
	t.revision, err = r.progress.Replace(ctx, r.chain.Name, t.Place, t.progress, revision)
	return err
}

// endProgress writes that the chain has ended in a dead letter. That may have been
// redriven since it was stored, a moment ago: then what is there now stands.
func (r *runner) endProgress(ctx context.Context, t *task) error {
	err := r.writeProgress(ctx, t)
	if !errors.Is(err, errOvertaken) {
		return err
	}
	now, _, e := r.progress.Find(ctx, r.chain.Name, t.Place)
	switch {
	case e != nil:
		return e
	case now.Redrives > t.progress.Redrives:
		return nil
	}
	return err
}
