package worker

import (
	"context"
	"time"

	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
)

// notify is the built-in handler notify: it hands the outbox a notification with
// the event's body. Its id is the step's idempotency key, so a step that is
// repeated after a crash tells nobody twice.
type notify struct {
	chain  string
	kind   string
	tenant string
	broker *stream.Broker
}

func newNotify(c *config.Notify, chain string, b *stream.Broker) (*notify, error) {
	return &notify{chain: chain, kind: c.Type, tenant: c.Tenant, broker: b}, nil
}

// Handle stores the notification.
func (n *notify) Handle(ctx context.Context, e *event.Event) (*handler.Response, error) {
	notification := &event.Event{
		ID:          e.IdempotencyKey(),
		Source:      "/chains/" + n.chain,
		Type:        n.kind,
		Time:        time.Now(),
		ContentType: e.ContentType,
		Traceparent: e.Traceparent,
		Tenant:      n.tenant,
		Body:        e.Body,
	}
	_, err := n.broker.StoreEvent(ctx, notification)
	return nil, err
}
