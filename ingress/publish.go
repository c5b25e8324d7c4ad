package ingress

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// publish stores the event before the deadline, trying again with the same id where the
// broker did not confirm. With no confirmation in time the outcome is unknown:
// the sender is refused, and its resend meets the deduplication.
//
// It goes on when the sender hangs up: what it sent is whole and verified, and
// not every sender sends again.
func publish(ctx context.Context, broker Store, e *event.Event, deadline time.Time) (stream.Receipt, error) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	unknown := false // an attempt of ours may have stored it
	for {
		attempt, done := context.WithTimeout(ctx, attemptTimeout)
		receipt, err := broker.StoreEvent(attempt, e)
		done()
		switch {
		case err == nil:
			receipt.Duplicate = receipt.Duplicate && !unknown
			return receipt, nil
		case errors.Is(err, stream.ErrUnavailable):
			unknown = true
		case !errors.Is(err, stream.ErrInFlight):
			return stream.Receipt{}, notStored(err)
		}
		select {
		case <-ctx.Done():
			return stream.Receipt{}, notStored(err)
		case <-time.After(pauseMin + rand.N(pauseMax-pauseMin)):
		}
	}
}

// notStored tells what a failed publish means to the sender.
func notStored(err error) error {
	switch {
	case errors.Is(err, stream.ErrFull):
		return &refusal{outcome: storeFull, status: http.StatusServiceUnavailable, retryAfter: retryMuchLater, cause: err}
	case errors.Is(err, stream.ErrTooLarge):
		return &refusal{outcome: tooLarge, status: http.StatusRequestEntityTooLarge, cause: err}
	}
	return &refusal{outcome: storeUnavailable, status: http.StatusServiceUnavailable, retryAfter: retryLater, cause: err}
}
