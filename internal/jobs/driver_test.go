package jobs

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/internal/testbroker"
)

const leaseInTest = 300 * time.Millisecond

// A job is its driver's for as long as that is at it, also where it has nothing to note
// for longer than the lease: as it looks for the first of many.
func TestLeaseLastsWhileAJobIsRun(t *testing.T) {
	b := testbroker.New(t)
	ctx, stop := context.WithCancel(t.Context())
	var driving sync.WaitGroup
	defer driving.Wait()
	defer stop()
	var runs atomic.Int32
	boards := []*Board{NewBoard(b), NewBoard(b)}
	for _, board := range boards {
		board.lease = leaseInTest
		driving.Go(func() {
			board.Drive(ctx, testbroker.Logger(t), func(ctx context.Context, d *Driver, j *standing.Job) error {
				runs.Add(1)
				select {
				case <-time.After(5 * leaseInTest):
				case <-ctx.Done():
				}
				j.State, j.Ended = standing.JobDone, time.Now()
				_, err := d.Note(ctx, j)
				return err
			}, standing.JobRedeliver)
		})
	}
	board, job := boards[0], &standing.Job{Kind: standing.JobRedeliver}
	if err := board.Begin(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	for deadline := time.After(20 * time.Second); !job.HasEnded(); {
		select {
		case <-deadline:
			t.Fatal("the job does not end")
		case <-time.After(10 * time.Millisecond):
		}
		var err error
		if job, err = board.Get(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("it was run %d times", n)
	}
}
