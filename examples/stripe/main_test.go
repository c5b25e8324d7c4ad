package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/worker"
)

func completed(body string) *event.Event {
	return &event.Event{ID: "evt_1", Receiver: "stripe", Type: "stripe.checkout.session.completed", Body: []byte(body)}
}

const paid = `{"data":{"object":{"id":"cs_1","payment_status":"paid","metadata":{"sku":"A-1"}}}}`

func TestFulfil(t *testing.T) {
	for name, test := range map[string]struct {
		body    string
		outcome string
	}{
		"paid":   {paid, "done"},
		"unpaid": {`{"data":{"object":{"id":"cs_1","payment_status":"unpaid"}}}`, "filtered"},
		"no sku": {`{"data":{"object":{"id":"cs_1","payment_status":"paid"}}}`, "dead"},
	} {
		t.Run(name, func(t *testing.T) {
			warehouse := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			defer warehouse.Close()
			s := &shop{warehouse: warehouse.URL, client: warehouse.Client()}
			got, err := worker.Try(t.Context(), s.chain(), completed(test.body))
			if err != nil || got.Outcome != test.outcome {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// The warehouse fails once: the order is not booked again, and the key stays.
func TestWarehouseIsAskedAgain(t *testing.T) {
	var keys []string
	warehouse := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		if len(keys) == 1 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer warehouse.Close()
	s := &shop{warehouse: warehouse.URL, client: warehouse.Client()}
	got, err := worker.Try(t.Context(), s.chain(), completed(paid))
	if err != nil || got.Outcome != "again" || got.Handler != "ship" {
		t.Fatalf("got %+v, %v", got, err)
	}
	got.Again(t.Context())
	if got.Outcome != "done" || !slices.Equal(got.Ran, []string{"book", "ship", "ship"}) || len(keys) != 2 || keys[0] == "" || keys[0] != keys[1] {
		t.Errorf("got %+v with the keys %q", got, keys)
	}
}
