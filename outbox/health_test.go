package outbox

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/stream"
)

func (o *outbox) health(subscription string) (v health) {
	o.t.Helper()
	r := o.do(http.MethodGet, "/v1/subscriptions/"+subscription+"/health", "key-a", nil, "")
	if r.StatusCode != http.StatusOK {
		o.t.Fatalf("health: %d %s", r.StatusCode, r.body)
	}
	r.into(o.t, &v)
	return v
}

func TestHealth(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(func(c *Config) { c.DisableAfter = 120 * time.Hour })
	e := newEndpoint(t, http.StatusOK)
	sub, _ := o.subscribe("key-a", map[string]any{"url": e.URL, "filters": []string{"t"}, "schedule": []string{}})
	if strings.Contains(o.log.String(), "BELAY_HISTORY") {
		t.Error("it is warned of a history that is long enough")
	}
	if v := o.health(sub.ID); v.State != healthUnknown || v.LastFailure != nil {
		t.Errorf("new: %+v", v)
	}
	o.notify("key-a", "1", "t", `1`)
	o.attempts(1)
	if v := o.health(sub.ID); v.State != healthServing || v.LastDelivered.IsZero() || v.Delivered != 1 || v.Failed != 0 {
		t.Errorf("serving: %+v", v)
	}
	e.status.Store(http.StatusBadGateway)
	o.notify("key-a", "2", "t", `1`)
	o.notify("key-a", "3", "t", `1`)
	o.attempts(3)
	v := o.health(sub.ID)
	if v.State != healthFailing || v.LastDelivered.IsZero() || v.Failed != 2 || v.LastFailure.Response.Status != 502 ||
		!v.DisabledAt.Equal(v.FailingSince.Add(120*time.Hour)) || v.FailingSince.Before(v.LastDelivered) {
		t.Errorf("failing: %+v", v)
	}
	e.status.Store(http.StatusOK)
	o.notify("key-a", "4", "t", `1`)
	o.attempts(4)
	if v := o.health(sub.ID); v.State != healthServing || v.Delivered != 2 || !v.FailingSince.IsZero() {
		t.Errorf("serving again: %+v", v)
	}
	if r := o.do(http.MethodGet, "/v1/subscriptions/"+sub.ID+"/health", "key-b", nil, ""); r.StatusCode != http.StatusNotFound {
		t.Errorf("another tenant: %d", r.StatusCode)
	}
}

// An endpoint that fails for too long is disabled, and its owner told; who resumes it
// gives it all of the time again.
func TestFailingDisables(t *testing.T) {
	t.Parallel()
	const after = 300 * time.Millisecond
	o := newHouse(t).run(func(c *Config) { c.DisableAfter = after })
	told := newEndpoint(t, http.StatusOK)
	o.subscribe("key-a", map[string]any{"url": told.URL, "filters": []string{"belay.subscription.*"}})
	e := newEndpoint(t, http.StatusInternalServerError)
	sub, _ := o.subscribe("key-a", map[string]any{"url": e.URL, "filters": []string{"t"}, "schedule": []string{"1ms", "350ms", "1h"}})
	o.notify("key-a", "1", "t", `1`)
	for range 3 {
		e.next(t)
	}
	var data disabledData
	if err := json.Unmarshal(told.next(t).body, &data); err != nil || data.Subscription != sub.ID || data.Reason != ReasonFailing {
		t.Errorf("told %+v, %v", data, err)
	}
	eventually(t, "it is disabled", func() bool { return o.health(sub.ID).State == healthDisabled })

	if r := o.do(http.MethodPatch, "/v1/subscriptions/"+sub.ID, "key-a", jsonBody, `{"schedule":["1h"]}`); r.StatusCode != http.StatusOK {
		t.Fatal(r.StatusCode)
	}
	o.verb("/v1/subscriptions/" + sub.ID + "/resume")
	o.notify("key-a", "2", "t", `1`)
	e.next(t)
	o.attempts(5) // with the one that told the owner
	if v := o.health(sub.ID); v.State != healthFailing {
		t.Errorf("resumed: %+v", v)
	}
}

// The owner is told of a delivery that is given up, but not of one that told it so, and
// not by the endpoint that has failed.
func TestExhaustedIsTold(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	e := newEndpoint(t, http.StatusBadRequest)
	sub, _ := o.subscribe("key-a", map[string]any{"url": e.URL, "filters": []string{"*"}, "schedule": []string{}})
	other := newEndpoint(t, http.StatusBadRequest)
	o.subscribe("key-a", map[string]any{"url": other.URL, "filters": []string{"belay.*"}, "schedule": []string{}})
	o.notify("key-a", "1", "deploy.done", `1`)
	e.next(t)
	var data exhaustedData
	if err := json.Unmarshal(other.next(t).body, &data); err != nil || data.Subscription != sub.ID || data.Notification != "1" ||
		data.Type != "deploy.done" || data.Attempts != 1 || data.Reason != ReasonRefused || data.Status != 400 || !strings.HasPrefix(data.Delivery, idPrefix) {
		t.Errorf("told %+v, %v", data, err)
	}
	eventually(t, "both are dead", func() bool { return len(o.messages(stream.Dead)) == 2 })
	o.settled()
	e.none(t)
	other.none(t)
}

func TestShortHistoryIsWarnedOf(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(func(c *Config) { c.DisableAfter = 30 * 24 * time.Hour })
	eventually(t, "it is warned", func() bool { return strings.Contains(o.log.String(), "raise BELAY_HISTORY") })
}
