// Command stripe fulfils orders that were paid with Stripe Checkout
// (https://docs.stripe.com/checkout/fulfillment). It runs beside an ingress with the
// configuration of this directory:
//
//	export STRIPE_SECRET=whsec_… BELAY_CONFIG=examples/stripe/belay.yaml BELAY_NATS_URL=nats://127.0.0.1:4222
//	go run ./cmd/ingress & go run ./examples/stripe
//
// A handler that fails is tried again by itself: what was booked is not booked again
// because the warehouse does not answer.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/worker"
)

func main() {
	shop := &shop{warehouse: "http://127.0.0.1:9000/shipments", client: &http.Client{Timeout: 10 * time.Second}}
	worker.Main(shop.chain())
}

// checkout is what is needed of Stripe's event checkout.session.completed.
type checkout struct {
	Data struct {
		Object struct {
			ID            string            `json:"id"`
			PaymentStatus string            `json:"payment_status"`
			Metadata      map[string]string `json:"metadata"`
		} `json:"object"`
	} `json:"data"`
}

// order is what the handlers hand on.
type order struct {
	Session string `json:"session"`
	SKU     string `json:"sku"`
}

type shop struct {
	warehouse string
	client    *http.Client
}

func (s *shop) chain() handler.Chain {
	return handler.Chain{
		Name: "fulfil", From: []string{"stripe"}, Events: []string{"checkout.session.*"},
		Steps: []handler.Step{
			{Order: 10, Name: "book", Handler: handler.Typed(book)},
			{Order: 20, Name: "ship", Handler: handler.Do(s.ship), Timeout: 15 * time.Second},
		},
	}
}

// book finds out what was bought.
func book(_ context.Context, e *event.Event, c checkout) error {
	session := c.Data.Object
	if session.PaymentStatus == "unpaid" {
		// checkout.session.async_payment_succeeded comes when the money has.
		return handler.Stop("not paid yet")
	}
	if session.Metadata["sku"] == "" {
		return handler.Never(errors.New("the session has no sku in its metadata"))
	}
	return e.Values.Set("order", order{Session: session.ID, SKU: session.Metadata["sku"]})
}

// ship asks the warehouse for a shipment. Its key is the same in each attempt, so
// the warehouse sends one parcel, even where its answer was lost.
func (s *shop) ship(ctx context.Context, e *event.Event) error {
	o, err := handler.Value[order](e, "order")
	if err != nil {
		return err
	}
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.warehouse, bytes.NewReader(body))
	if err != nil {
		return handler.Never(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", e.IdempotencyKey())
	answer, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusUnprocessableEntity:
		return handler.Never(fmt.Errorf("the warehouse does not know %s", o.SKU))
	case answer.StatusCode >= 300:
		return fmt.Errorf("the warehouse answered %s", answer.Status)
	}
	return nil
}
