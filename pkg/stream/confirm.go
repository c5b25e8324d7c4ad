package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A confirmation is a stream's answer to a publish
// (https://docs.nats.io/reference/reference-protocols/nats_api_reference#publish-acknowledgement).
type confirmation struct {
	Stream    string              `json:"stream"`
	Sequence  uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"`
	Error     *jetstream.APIError `json:"error"`
}

// confirmed publishes a message and waits for the stream's confirmation. It is what
// the client's PublishMsg does, at two thirds of its cost: every webhook passes here.
// Nothing is tried again; that is for those who know how long they may wait.
func (b *Broker) confirmed(ctx context.Context, m *nats.Msg) (c confirmation, err error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
	}
	answer, err := b.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return c, brokerError(err)
	}
	return readConfirmation(answer)
}

// readConfirmation reads what a stream answers, or the server where there is none.
func readConfirmation(answer *nats.Msg) (c confirmation, err error) {
	if len(answer.Data) == 0 && answer.Header.Get("Status") == "503" {
		return c, brokerError(nats.ErrNoResponders)
	}
	if err := json.Unmarshal(answer.Data, &c); err != nil {
		return c, brokerError(fmt.Errorf("the confirmation is unreadable: %w", err))
	}
	if c.Error != nil {
		return c, brokerError(c.Error)
	}
	if c.Stream == "" {
		return c, brokerError(errors.New("the confirmation names no stream"))
	}
	return c, nil
}
