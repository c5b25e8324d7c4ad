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
func publish(ctx context.Context, broker Store, e *event.Event, q *stream.Question, deadline time.Time) (stream.Receipt, error) {
	ctx = context.WithoutCancel(ctx)
	unknown := false // an attempt of ours may have stored it
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		receipt, err := attempt(ctx, broker, e, q, deadline)
		switch {
		case err == nil:
			receipt.Duplicate = receipt.Duplicate && !unknown
			return receipt, nil
		case errors.Is(err, stream.ErrUnavailable):
			unknown = true
		case !errors.Is(err, stream.ErrInFlight):
			return stream.Receipt{}, notStored(err)
		}
		<-time.After(min(pause/2+rand.N(pause), time.Until(deadline)))
		if !time.Now().Before(deadline) {
			return stream.Receipt{}, notStored(err)
		}
	}
}

// attempt tries once, for attemptTimeout and not past the deadline.
func attempt(ctx context.Context, broker Store, e *event.Event, q *stream.Question, deadline time.Time) (stream.Receipt, error) {
	if until := time.Now().Add(attemptTimeout); until.Before(deadline) {
		deadline = until
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return broker.StoreAsking(ctx, e, q)
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
