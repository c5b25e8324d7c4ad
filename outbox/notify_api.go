package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/belay-hooks/belay/internal/expression"
	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/event"
)

const (
	// maxBatchEvents is how many notifications one request may have.
	maxBatchEvents = 100
	// storesAtOnce is how many of them share the broker's flush to the disk.
	storesAtOnce = 16
)

// accepted is the answer to a notification.
type accepted struct {
	// ID is the event's.
	ID string `json:"id"`
	// Duplicate says that an event of this source and id was accepted before,
	// within the broker's window; nothing is sent again.
	Duplicate bool `json:"duplicate"`
}

// acceptedAll is the answer to a batch, in its order.
type acceptedAll struct {
	Accepted []accepted `json:"accepted"`
}

// notify takes a notification, or a batch of them. A batch that is refused is refused
// whole; one that was not confirmed is sent again, and what was stored of it is
// recognised.
func (a *api) notify(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := who.may(accessWrite); err != nil {
		return err
	}
	when, err := predicate(r)
	if err != nil {
		return err
	}
	body, err := rest.ReadBody(w, r, maxNotificationBody)
	if err != nil {
		return err
	}
	events, batch, err := parseNotifications(r.Header, body, who.tenant, time.Now())
	if err != nil {
		return err
	}
	if err := a.backlog.refusal(); err != nil {
		return err
	}
	for _, e := range events {
		if e.When = when; !a.types.declares(e.Name()) {
			return rest.NewProblem(http.StatusUnprocessableEntity,
				"the event type "+strconv.Quote(e.Name())+" is not declared; GET /v1/event-types lists those that are")
		}
	}
	answer := acceptedAll{make([]accepted, len(events))}
	group, ctx := errgroup.WithContext(r.Context())
	group.SetLimit(storesAtOnce)
	for i, e := range events {
		group.Go(func() (err error) {
			answer.Accepted[i], err = a.store(ctx, e, who)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return explain(err)
	}
	if batch {
		rest.WriteJSON(w, http.StatusAccepted, "application/json", answer)
	} else {
		rest.WriteJSON(w, http.StatusAccepted, "application/json", answer.Accepted[0])
	}
	return nil
}

func (a *api) store(ctx context.Context, e *event.Event, who caller) (accepted, error) {
	receipt, err := a.broker.StoreEvent(ctx, e)
	if err != nil {
		return accepted{}, err
	}
	a.metrics.notifications.WithLabelValues(strconv.FormatBool(receipt.Duplicate)).Inc()
	a.log.Info("notification accepted", "notification", e.ID, "source", e.Source, "type", e.Type,
		"tenant", who.tenant, "by", who.key, "bytes", len(e.Body), "duplicate", receipt.Duplicate)
	return accepted{ID: e.ID, Duplicate: receipt.Duplicate}, nil
}

// predicate reads which subscriptions a notification is for.
func predicate(r *http.Request) (string, error) {
	q := rest.NewQuery(r)
	when := q.Text("when")
	if when != "" {
		if detail := rest.BadText(when, maxWhen); detail != "" {
			q.Bad("when", detail)
		} else if _, err := expression.NewPredicate(when); err != nil {
			q.Bad("when", err.Error())
		}
	}
	return when, q.Err()
}

// parseNotifications reads one CloudEvent, or a batch of them
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md#4-json-batch-format).
func parseNotifications(header http.Header, body []byte, tenant string, now time.Time) (events []*event.Event, batch bool, err error) {
	if t, _, err := mime.ParseMediaType(header.Get("Content-Type")); err != nil || t != batchType {
		e, err := parseNotification(header, body, tenant, now)
		return []*event.Event{e}, false, err
	}
	var all []json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, true, rest.NewProblem(http.StatusBadRequest, "the body is not a JSON array of CloudEvents")
	}
	if len(all) == 0 || len(all) > maxBatchEvents {
		return nil, true, rest.NewProblem(http.StatusUnprocessableEntity, "want from 1 to "+strconv.Itoa(maxBatchEvents)+" events in a batch")
	}
	seen := make(map[string]bool, len(all))
	one := http.Header{"Content-Type": {structuredType}, "Traceparent": header["Traceparent"]}
	for i, raw := range all {
		e, err := parseNotification(one, raw, tenant, now)
		if err != nil {
			return nil, true, inBatch(err, i)
		}
		id := e.MsgID()
		if seen[id] {
			return nil, true, inBatch(rest.NewProblem(http.StatusUnprocessableEntity, "its source and id stand in the batch before",
				rest.FieldProblem{Pointer: rest.Pointer("id"), Detail: "want another one"}), i)
		}
		seen[id] = true
		events = append(events, e)
	}
	return events, true, nil
}

// inBatch makes a problem with an event one with the batch that it stands in.
func inBatch(err error, i int) error {
	var p *rest.Problem
	if !errors.As(err, &p) {
		return err
	}
	at := strconv.Itoa(i)
	errs := make([]rest.FieldProblem, len(p.Errors))
	for j, e := range p.Errors {
		e.Pointer = "#/" + at + strings.TrimPrefix(e.Pointer, "#")
		errs[j] = e
	}
	return rest.NewProblem(p.Status, "event "+at+" of the batch: "+p.Detail, errs...)
}
