package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/stream"
)

// reservation is what the first request with an Idempotency-Key has reserved: the
// id of what it makes, whether it got there or not.
type reservation struct {
	ID      string `json:"id"`
	Request string `json:"request"` // a digest of its body
}

// maxIdempotencyKey is the longest Idempotency-Key in bytes.
const maxIdempotencyKey = 256

// once makes a request that has an Idempotency-Key
// (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/)
// create one subscription, however often it is sent within a day. It returns what
// an earlier one made, or gives sub the id that is reserved for it.
func (a *api) once(r *http.Request, who caller, body []byte, sub *Subscription) (*Subscription, error) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return nil, nil
	}
	if detail := rest.BadText(key, maxIdempotencyKey); detail != "" {
		return nil, rest.Invalid(rest.FieldProblem{Header: "Idempotency-Key", Detail: detail})
	}
	mine := reservation{ID: sub.ID, Request: digest(string(body))}
	data, err := json.Marshal(mine)
	if err != nil {
		return nil, fmt.Errorf("encode a reservation: %w", err)
	}
	bucket, place := a.broker.Bucket(stream.Idempotency), who.tenant+"."+digest(key)
	_, err = bucket.Create(r.Context(), place, data)
	if err == nil || !errors.Is(err, stream.ErrConflict) {
		return nil, err
	}
	entry, err := bucket.Get(r.Context(), place)
	if err != nil {
		return nil, err
	}
	var first reservation
	if err := json.Unmarshal(entry.Value, &first); err != nil {
		return nil, fmt.Errorf("read a reservation: %w", err)
	}
	if first.Request != mine.Request {
		return nil, rest.NewProblem(http.StatusUnprocessableEntity, "this Idempotency-Key came with another request before")
	}
	made, err := a.subscriptions.get(r.Context(), who.tenant, first.ID)
	if errors.Is(err, stream.ErrNotFound) { // the first one did not get there
		sub.ID = first.ID
		return nil, nil
	}
	return made, err
}
