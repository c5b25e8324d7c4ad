package bench

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// Events stores events as the ingress would. Their ids are their numbers, from 0.
type Events struct {
	broker *stream.Broker
	body   []byte
	number atomic.Int64
	make   func(number int64) *event.Event
}

// NewEvents connects to the broker at the URL, to store events with bodies of so
// many bytes.
func NewEvents(ctx context.Context, url string, size int) (*Events, error) {
	broker, err := stream.Connect(stream.Config{Name: "load", URL: url, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	if err := broker.Open(ctx); err != nil {
		broker.Close()
		return nil, err
	}
	e := &Events{broker: broker, body: bytes.Repeat([]byte("x"), size)}
	e.make = e.webhook
	return e, nil
}

// Close ends the connection.
func (e *Events) Close() { e.broker.Close() }

// names are those of the events that a repository with a life sends. The broker looks
// for the next event of a chain by its subject, so their number counts.
var names = []string{
	"push", "pull_request.opened", "pull_request.synchronize", "pull_request.closed", "pull_request.labeled",
	"pull_request_review.submitted", "pull_request_review_comment.created", "issues.opened", "issues.edited", "issues.closed",
	"issue_comment.created", "check_run.created", "check_run.completed", "check_suite.completed", "status", "create", "delete",
	"workflow_run.requested", "workflow_run.completed", "workflow_job.queued", "workflow_job.in_progress", "workflow_job.completed",
}

// store stores the next event.
func (e *Events) store(ctx context.Context) error {
	_, err := e.broker.StoreEvent(ctx, e.make(e.number.Add(1)-1))
	return err
}

func (e *Events) webhook(number int64) *event.Event {
	n, name := strconv.FormatInt(number, 10), names[int(number)%len(names)]
	return &event.Event{
		ID: n, Source: "/github/default", Type: "github." + name, Time: time.Now(), ContentType: "application/json",
		Receiver: "github", SourceID: "default", Key: "octo/" + n, Body: e.body,
		Header: http.Header{"X-Github-Event": {name}, "X-Github-Delivery": {n}, "User-Agent": {"GitHub-Hookshot/044aadd"}},
	}
}

// atOnce is how many are stored at once.
const atOnce = 128

// Store stores so many.
func (e *Events) Store(ctx context.Context, count int) error {
	group, ctx := errgroup.WithContext(ctx)
	var taken atomic.Int64
	for range atOnce {
		group.Go(func() error {
			for taken.Add(1) <= int64(count) {
				if err := e.store(ctx); err != nil {
					return fmt.Errorf("store an event: %w", err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// Offer stores so many a second until stop is called, whether the broker keeps up or
// not: those that are due wait for no others.
func (e *Events) Offer(ctx context.Context, rate float64) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	slots := make(chan struct{}, 16*atOnce)
	running.Go(func() {
		began := time.Now()
		for n := 0; ; n++ {
			due := began.Add(time.Duration(float64(n) / rate * float64(time.Second)))
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Until(due)):
			}
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				_ = e.store(ctx) // one that is not stored is not handled, and the count tells
			})
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}
