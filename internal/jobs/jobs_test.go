package jobs_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/jobs"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/internal/testbroker"
)

// item is what a job of the tests is about.
type item uint64

// String is the item's number.
func (i item) String() string { return strconv.FormatUint(uint64(i), 10) }

// pages are the items from 1 to 1000.
func pages(_ context.Context, cursor uint64, most int) (page []item, after uint64, err error) {
	for n := max(cursor, 1); n <= 1000; n++ {
		if len(page) == most {
			return page, n, nil
		}
		page = append(page, item(n))
	}
	return page, 0, nil
}

// A job is driven by one process at a time. Where that ends the next one goes on at once,
// where it was; what fails is begun again.
func TestJobGoesOnElsewhere(t *testing.T) {
	b := testbroker.New(t)
	settled, ended := make(chan item, 10_000), make(chan standing.Job, 1)
	drive := func(board *jobs.Board, settle func(item) error) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			board.Drive(ctx, slog.New(slog.DiscardHandler), func(ctx context.Context, d *jobs.Driver, j *standing.Job) error {
				err := jobs.Pages(ctx, d, j, pages, func(_ context.Context, i item) error { return settle(i) })
				if j.HasEnded() {
					ended <- *j
				}
				return err
			}, standing.JobRedeliver)
		}()
		return func() { cancel(); <-done }
	}
	first, second := jobs.NewBoard(b), jobs.NewBoard(b)
	stop := drive(first, func(i item) error { settled <- i; return nil })
	j := &standing.Job{Kind: standing.JobRedeliver, Rate: 500, Total: 1000}
	if err := first.Begin(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	other := &standing.Job{Kind: standing.JobReplay, Rate: 1}
	if err := first.Begin(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	for range 250 {
		<-settled
	}
	stop()
	stop = drive(second, func(i item) error {
		settled <- i
		if i == 999 {
			return jobs.ErrSkip
		}
		return nil
	})
	defer stop()
	select {
	case got := <-ended:
		if got.State != standing.JobDone || got.Handled != 999 || got.Skipped != 1 {
			t.Errorf("ended %+v", got)
		}
	case <-time.After(12 * time.Second):
		t.Fatal("the next one has waited, as if the first one had died")
	}
	if n := len(settled); n > 1000-250+100 {
		t.Errorf("%d were settled by the second one: more than were left, and a page", n)
	}
	if _, _, err := second.Change(t.Context(), "none", "pause", "ann"); !errors.Is(err, jobs.ErrNone) {
		t.Errorf("no job: %v", err)
	}
	if o, err := second.Get(t.Context(), other.ID); err != nil || o.Owner != "" {
		t.Errorf("a job of another kind is driven: %+v, %v", o, err)
	}
}
