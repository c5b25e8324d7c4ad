package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/stream"
)

// history is what became of deliveries. Nobody writes it down a second time: it is
// read from where the deliveries themselves are.
//
//	pending                       OUT        what waits, or is just attempted
//	dead                          DEAD       what was given up and can be redriven
//	delivered, gone, cancelled    ATTEMPTS   by the subjects of the verdicts
//	all                           ATTEMPTS   by the last attempt of each
type history struct {
	broker        *stream.Broker
	subscriptions *subscriptions
	log           *slog.Logger
}

// pending is the state of a delivery that has not ended. The other states are
// verdicts: delivered, gone, dead, cancelled.
const pending = "pending"

// list is a page of a tenant's deliveries in a state, or of all that were attempted
// where that is empty, the newest first, and the cursor of the next page. A page may
// be shorter than the limit, or empty, though another one follows.
func (h history) list(ctx context.Context, tenant, state string, f standing.Filter, cursor string, limit int) (page []*deliveryView, next string, err error) {
	if state == pending {
		return h.listPending(ctx, tenant, f, cursor, limit)
	}
	before := uint64(0)
	if cursor != "" {
		if before, err = strconv.ParseUint(cursor, 10, 64); err != nil {
			return nil, "", errCursor
		}
	}
	var at uint64
	switch state {
	case string(dead):
		page, at, err = stream.Newest(ctx, h.broker, letterRange(tenant, f), before, limit, h.letterReader(f))
	default:
		page, at, err = h.listEnded(ctx, tenant, state, f, before, limit)
	}
	return page, number(at), err
}

// errCursor: the cursor is not one that a list has given.
var errCursor = errors.New("the cursor is unknown")

// letterRange selects the dead letters that a filter may select.
func letterRange(tenant string, f standing.Filter) stream.Range {
	return stream.Range{
		Stream: stream.Dead, Filters: []string{stream.DeadDelivery(tenant, subscriptionToken(f.Subscription), "*")},
		From: f.From, HeadersOnly: true,
	}
}

// letterReader reads the dead letters that a filter selects.
func (h history) letterReader(f standing.Filter) func(m *stream.Stored) (*deliveryView, bool) {
	return func(m *stream.Stored) (*deliveryView, bool) {
		d, err := decodeDelivery(m.Header, nil)
		if err != nil {
			h.log.Warn("a dead letter cannot be read and is left out", "seq", m.Seq, "error", err)
			return nil, false
		}
		v := d.letterView(m)
		return v, selects(f, v)
	}
}

// listEnded reads verdicts. Of a delivery that was attempted several times the last
// one counts, so of the others those are left out that are not the last.
func (h history) listEnded(ctx context.Context, tenant, state string, f standing.Filter, before uint64, limit int) (page []*deliveryView, next uint64, err error) {
	verdict := state
	if verdict == "" {
		verdict = "*"
	}
	r := stream.Range{
		Stream: stream.Attempts, Filters: []string{stream.AttemptSubject(tenant, subscriptionToken(f.Subscription), verdict)},
		From: f.From, HeadersOnly: true,
	}
	all, next, err := stream.Newest(ctx, h.broker, r, before, limit, func(m *stream.Stored) (*deliveryView, bool) {
		a, err := readAttempt(m)
		if err != nil {
			h.log.Warn("a record cannot be read and is left out", "error", err)
			return nil, false
		}
		v := a.view()
		return v, selects(f, v)
	})
	if err != nil {
		return nil, 0, err
	}
	seen := make(map[string]bool)
	for _, v := range all {
		if seen[v.ID] {
			continue
		}
		seen[v.ID] = true
		last, err := h.isLast(ctx, tenant, v)
		if err != nil {
			return nil, 0, err
		}
		if last {
			page = append(page, v)
		}
	}
	return page, next, nil
}

// isLast reports whether a delivery still is as an attempt has left it, and
// completes what is shown of one that waits.
func (h history) isLast(ctx context.Context, tenant string, v *deliveryView) (bool, error) {
	switch v.State {
	case pending:
		d, m, err := h.waiting(ctx, v.ID, v.Subscription)
		if errors.Is(err, stream.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		now := d.view(m)
		v.Next, v.WaitsFor = now.Next, now.WaitsFor
		return d.attempt == v.Attempts+1, nil
	case string(dead):
		_, err := h.broker.Last(ctx, stream.Dead, stream.DeadDelivery(tenant, v.Subscription, v.ID))
		if errors.Is(err, stream.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	}
	return true, nil
}

// mostLooked bounds how many deliveries are looked at for one page of those that
// wait.
const mostLooked = 5000

// listPending reads the OUT streams, shard by shard, the one that waits for longest
// first. The broker hands them out one by one.
func (h history) listPending(ctx context.Context, tenant string, f standing.Filter, cursor string, limit int) (page []*deliveryView, next string, err error) {
	shard, seq := 0, uint64(1)
	if cursor != "" {
		if _, err := fmt.Sscanf(cursor, "%d.%d", &shard, &seq); err != nil || shard < 0 {
			return nil, "", errCursor
		}
	}
	looked := 0
	for ; shard < h.broker.Shards(); shard, seq = shard+1, 1 {
		if f.Subscription != "" && shardOf(f.Subscription, h.broker.Shards()) != shard {
			continue
		}
		for ; ; seq++ {
			m, err := h.broker.Next(ctx, stream.Out(shard), stream.OutAll(shard, subscriptionToken(f.Subscription), "*"), seq)
			if errors.Is(err, stream.ErrNotFound) {
				break
			}
			if err != nil {
				return nil, "", err
			}
			if seq = m.Seq; len(page) == limit || looked == mostLooked {
				return page, fmt.Sprintf("%d.%d", shard, seq), nil
			}
			looked++
			d, err := decodeDelivery(m.Header, m.Data)
			if err != nil || d.event.Tenant != tenant {
				continue
			}
			if v := d.view(m); selects(f, v) {
				page = append(page, v)
			}
		}
	}
	return page, "", nil
}
