package handler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
)

type order struct {
	ID    string `json:"id"`
	Total int    `json:"total"`
}

func ExampleTyped() {
	ship := func(_ context.Context, e *event.Event, o order) error {
		if o.Total == 0 {
			return handler.Stop("nothing to ship")
		}
		fmt.Println("ship", o.ID)
		return e.Values.Set("shipped", o.ID)
	}
	tell := func(_ context.Context, e *event.Event) error {
		id, err := handler.Value[string](e, "shipped")
		if err != nil {
			return err
		}
		fmt.Println("tell of", id)
		return nil
	}
	chain := handler.Chain{Name: "orders", Steps: []handler.Step{
		{Name: "ship", Handler: handler.Typed(ship)}, {Name: "tell", Handler: handler.Do(tell)},
	}}
	e := &event.Event{Type: "shop.order.paid", Body: []byte(`{"id":"o-1","total":2}`)}
	for _, s := range chain.Sorted() {
		if _, err := s.Handler.Handle(context.Background(), e); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// ship o-1
	// tell of o-1
}

func TestDecode(t *testing.T) {
	form := "application/x-www-form-urlencoded; charset=utf-8"
	for name, test := range map[string]struct {
		contentType, body string
		want              string // the id, or "-" for an error
	}{
		"JSON":                {"application/json", `{"id":"a","other":1}`, "a"},
		"no content type":     {"", `{"id":"a"}`, "a"},
		"payload of a form":   {form, "payload=" + url.QueryEscape(`{"id":"a"}`), "a"},
		"form without one":    {form, "id=a", "-"},
		"another type":        {"application/json", `{"id":7}`, "-"},
		"no JSON":             {"text/xml", `<id>a</id>`, "-"},
		"empty":               {"application/json", ``, "-"},
		"two documents in it": {"application/json", `{} {}`, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := handler.Decode[order](&event.Event{Type: "shop.paid", ContentType: test.contentType, Body: []byte(test.body)})
			if test.want == "-" {
				if !handler.IsNever(err) || !strings.HasPrefix(err.Error(), "read the body of shop.paid as handler_test.order: ") {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err != nil || got.ID != test.want {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestValue(t *testing.T) {
	e := &event.Event{}
	if err := e.Values.Set("order", order{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	if o, err := handler.Value[order](e, "order"); err != nil || o.ID != "a" {
		t.Errorf("got %v, %v", o, err)
	}
	if _, err := handler.Value[int](e, "order"); !handler.IsNever(err) {
		t.Errorf("of another type: %v", err)
	}
	if _, err := handler.Value[int](e, "none"); !handler.IsNever(err) || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("missing: %v", err)
	}
}

func TestSetBody(t *testing.T) {
	e := &event.Event{ContentType: "text/plain", Body: []byte("in")}
	if err := e.SetBody(order{ID: "a"}); err != nil || e.ContentType != "application/json" || string(e.Body) != `{"id":"a","total":0}` {
		t.Errorf("%s, %v", e.Body, err)
	}
	later := &event.Event{Body: []byte("in")}
	later.UseValues(e.Values)
	if string(later.Body) != string(e.Body) {
		t.Errorf("after a retry: %s", later.Body)
	}
	if err := e.SetBody(json.RawMessage("{")); err == nil {
		t.Error("no JSON was taken")
	}
}

func TestStopIsRecognisedThroughWrapping(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", handler.Stop("enough"))
	if !handler.IsStop(err) || handler.IsNever(err) || handler.IsStop(handler.Never(nil)) || !strings.Contains(err.Error(), "enough") {
		t.Errorf("got %v", err)
	}
}
