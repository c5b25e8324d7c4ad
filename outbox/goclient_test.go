package outbox

import (
	"errors"
	"net/http"
	"testing"
	"time"

	goclient "github.com/belay-hooks/belay/pkg/client"
)

// The Go client says what the API says.
func TestClientOfDeliveries(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(func(c *Config) { c.DisableAfter = time.Hour })
	c, err := goclient.New(o.url, "key-a")
	if err != nil {
		t.Fatal(err)
	}
	e := newEndpoint(t, http.StatusBadRequest)
	ctx := t.Context()
	sub, err := c.Create(ctx, goclient.Settings{URL: e.URL, Filters: []string{"t"}, Schedule: []string{"1h"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"1", "2", "3"} {
		n := goclient.Notification{ID: id, Source: "/s", Type: "t", Data: []byte(`{"n":1}`), When: "subscription.id == '" + sub.ID + "'"}
		if _, err := c.In(goclient.AllTenants).Notify(ctx, n); err != nil {
			t.Fatal(err)
		}
		e.next(t)
	}
	list := func(state string) (all []*goclient.Delivery) {
		for d, err := range c.Deliveries(ctx, state, goclient.DeliveryFilter{Subscription: sub.ID, From: time.Now().Add(-time.Hour)}) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, d)
		}
		return all
	}
	eventually(t, "all wait", func() bool {
		all := list("pending")
		return len(all) == 3 && all[0].Attempts+all[1].Attempts+all[2].Attempts == 3
	})
	id := list("pending")[0].ID
	one, err := c.Delivery(ctx, id)
	if err != nil || one.Body == nil || *one.Body != `{"n":1}` || len(one.History) != 1 || one.History[0].Response.Status != 400 {
		t.Errorf("%+v, %v", one, err)
	}
	if _, err := c.Retry(ctx, id); err != nil {
		t.Error(err)
	}
	eventually(t, "it is dead", func() bool { return len(list("dead")) == 1 })
	var problem *goclient.Problem
	if _, err := c.Cancel(ctx, id); !errors.As(err, &problem) || problem.Status != http.StatusConflict {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := c.Cancel(ctx, list("pending")[0].ID); err != nil {
		t.Error(err)
	}
	eventually(t, "it is cancelled", func() bool { return len(list("cancelled")) == 1 })
	h, err := c.Health(ctx, sub.ID)
	if err != nil || h.State != "failing" || h.Failed != 4 || h.LastFailure == nil || h.DisabledAt.Before(time.Now()) {
		t.Errorf("%+v, %v", h, err)
	}
	e.status.Store(http.StatusOK)
	for _, request := range []goclient.NewJob{
		{Kind: "redeliver", Filter: goclient.DeliveryFilter{Subscription: sub.ID}, Why: "fixed"},
		{Kind: "recover", Filter: goclient.DeliveryFilter{Subscription: sub.ID, From: time.Now().Add(-time.Hour)}},
	} {
		j, err := c.CreateJob(ctx, request)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the job ends", func() bool {
			j, err = c.Job(ctx, j.ID)
			return err == nil && j.State == "done"
		})
		if want := map[string]uint64{"redeliver": 1, "recover": 0}[request.Kind]; j.Handled != want {
			t.Errorf("%+v", j)
		}
	}
	eventually(t, "it is delivered", func() bool { return len(list("delivered")) == 1 })
	for _, err := range c.In("none").Deliveries(ctx, "nope", goclient.DeliveryFilter{}) {
		if err == nil {
			t.Error("a state that is none is listed")
		}
	}
}
