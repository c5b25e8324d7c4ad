package jobs_test

import (
	"context"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/jobs"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/internal/testbroker"
)

// A replay that is cancelled while it is paused has a driver once more, who removes
// what it has left at the broker.
func TestCancelledReplayIsCleanedUp(t *testing.T) {
	b := testbroker.New(t)
	board := jobs.NewBoard(b)
	ctx, cancel := context.WithCancel(t.Context())
	drove, ended := make(chan standing.JobState, 100), make(chan struct{})
	go func() {
		defer close(ended)
		board.Drive(ctx, testbroker.Logger(t), func(ctx context.Context, d *jobs.Driver, j *standing.Job) error {
			if !j.HasEnded() {
				drove <- j.State
			}
			for !j.HasEnded() {
				if mine, err := d.Note(ctx, j); !mine && !j.HasEnded() {
					drove <- j.State
					return err
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(10 * time.Millisecond):
				}
			}
			j.Clean = true
			_, err := d.Note(ctx, j)
			drove <- j.State
			return err
		}, standing.JobReplay)
	}()
	defer func() { cancel(); <-ended }()
	j := &standing.Job{Kind: standing.JobReplay}
	if err := board.Begin(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		verb string
		want standing.JobState
	}{{"", standing.JobRunning}, {"pause", standing.JobPaused}, {"cancel", standing.JobCancelled}} {
		if step.verb != "" {
			if _, _, err := board.Change(t.Context(), j.ID, step.verb, "ann"); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case got := <-drove:
			if got != step.want {
				t.Errorf("after %q it is %s for its driver", step.verb, got)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("nobody drives it after %q", step.verb)
		}
	}
	now, err := board.Get(t.Context(), j.ID)
	if err != nil || !now.Clean || now.State != standing.JobCancelled {
		t.Errorf("it stands at %+v, %v", now, err)
	}
}
