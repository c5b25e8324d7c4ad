package outbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/stream"
)

// begin makes a job of a request.
func (o *outbox) begin(request map[string]any) standing.Job {
	o.t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		o.t.Fatal(err)
	}
	r := o.do(http.MethodPost, "/v1/jobs", "key-a", jsonBody, string(body))
	if r.StatusCode != http.StatusCreated {
		o.t.Fatalf("begin: %d %s", r.StatusCode, r.body)
	}
	var j standing.Job
	r.into(o.t, &j)
	return j
}

// ended waits for the end of a job.
func (o *outbox) ended(id string) (j standing.Job) {
	o.t.Helper()
	eventually(o.t, "the job ends", func() bool {
		j = standing.Job{}
		o.do(http.MethodGet, "/v1/jobs/"+id, "key-a", nil, "").into(o.t, &j)
		return j.HasEnded()
	})
	return j
}

// verb posts to something of the API.
func (o *outbox) verb(path string) {
	o.t.Helper()
	if r := o.do(http.MethodPost, path, "key-a", nil, ""); r.StatusCode != http.StatusOK {
		o.t.Fatalf("%s: %d %s", path, r.StatusCode, r.body)
	}
}

// Many that are dead are put back by a job that another outbox goes on with. Each is
// sent once.
func TestRedeliver(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.run(nil)
	e := newEndpoint(t, http.StatusBadRequest)
	sub, _ := o.subscribe("key-a", map[string]any{"url": e.URL, "schedule": []string{}, "filters": []string{"a", "b"}})
	const n = 120
	for i := range n {
		o.notify("key-a", fmt.Sprint(i), map[bool]string{true: "a", false: "b"}[i < n-3], `1`)
	}
	for range n {
		e.next(t)
	}
	eventually(t, "all are dead", func() bool { return len(h.messages(stream.Dead)) == n })
	o.settled()
	e.status.Store(http.StatusOK)

	j := o.begin(map[string]any{"kind": "redeliver", "rate": 40, "filter": map[string]any{"type": "a", "subscription": sub.ID}, "why": "fixed"})
	if j.Total != n-3 || j.State != standing.JobRunning {
		t.Errorf("began %+v", j)
	}
	for range 20 {
		e.next(t)
	}
	o.stop()
	o = h.run(nil)
	j = o.ended(j.ID)
	if j.State != standing.JobDone || j.Handled != n-3 || j.Skipped != 0 {
		t.Errorf("ended %+v", j)
	}
	o.settled()
	eventually(t, "all are delivered", func() bool { return len(e.posts) == n-3-20 })
	if left := o.deliveries("state=dead").Deliveries; len(left) != 3 || left[0].Type != "b" {
		t.Errorf("%d are left", len(left))
	}
}

// A job can be paused, and what cannot be sent is skipped.
func TestRedeliverSkips(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.run(nil)
	e := newEndpoint(t, http.StatusBadRequest)
	sub, _ := o.subscribe("key-a", map[string]any{"url": e.URL, "schedule": []string{}})
	for i := range 3 {
		o.notify("key-a", fmt.Sprint(i), "t", `1`)
	}
	eventually(t, "all are dead", func() bool { return len(h.messages(stream.Dead)) == 3 })
	o.settled()
	o.verb("/v1/subscriptions/" + sub.ID + "/pause")
	j := o.ended(o.begin(map[string]any{"kind": "redeliver"}).ID)
	if j.Handled != 0 || j.Skipped != 3 || j.Error == "" {
		t.Errorf("ended %+v", j)
	}
	o.verb("/v1/subscriptions/" + sub.ID + "/resume")
	j = o.begin(map[string]any{"kind": "redeliver", "rate": 1})
	o.verb("/v1/jobs/" + j.ID + "/pause")
	o.verb("/v1/jobs/" + j.ID + "/cancel")
	if j = o.ended(j.ID); j.State != standing.JobCancelled || j.ChangedBy != "BELAY_API_KEYS:1" {
		t.Errorf("cancelled %+v", j)
	}
	if r := o.do(http.MethodPost, "/v1/jobs/"+j.ID+"/resume", "key-a", nil, ""); r.StatusCode != http.StatusConflict {
		t.Errorf("resumed: %d", r.StatusCode)
	}
	if r := o.do(http.MethodGet, "/v1/jobs/"+j.ID, "key-b", nil, ""); r.StatusCode != http.StatusNotFound {
		t.Errorf("another tenant: %d", r.StatusCode)
	}
}

// A subscription gets what it has missed, once, and nothing else.
func TestRecover(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.run(nil)
	since := time.Now().Add(-time.Minute).UTC()
	recover := func(sub Subscription) standing.Job {
		t.Helper()
		return o.ended(o.begin(map[string]any{"kind": "recover", "filter": map[string]any{"subscription": sub.ID, "from": since}}).ID)
	}
	o.notify("key-a", "before", "deploy.done", `{"n":1}`)
	o.notify("key-a", "other", "else", `{"n":1}`)
	o.notify("key-a", "small", "deploy.done", `{"n":0}`)
	o.notify("key-b", "theirs", "deploy.done", `{"n":1}`)
	h.fannedOut(4)
	e := newEndpoint(t, http.StatusBadRequest)
	sub, _ := o.subscribe("key-a", map[string]any{"url": e.URL, "filters": []string{"deploy.*"}, "when": "body.n > 0", "schedule": []string{}})
	o.notify("key-a", "refused", "deploy.done", `{"n":2}`)
	e.next(t)
	o.delivery(sub.ID, string(dead), 1)
	e.status.Store(http.StatusOK)
	o.notify("key-a", "accepted", "deploy.done", `{"n":3}`)
	e.next(t)
	o.delivery(sub.ID, string(delivered), 1)
	o.verb("/v1/subscriptions/" + sub.ID + "/pause")
	o.notify("key-a", "paused", "deploy.done", `{"n":4}`)
	h.fannedOut(8) // with the one that tells of the refused one
	o.verb("/v1/subscriptions/" + sub.ID + "/resume")
	o.settled()

	if j := recover(sub); j.Handled != 3 || j.Skipped != 4 || j.Total != 7 {
		t.Errorf("recovered %+v", j)
	}
	got := map[string]bool{}
	for range 3 {
		got[string(e.next(t).body)] = true
	}
	if len(got) != 3 || !got[`{"n":1}`] || !got[`{"n":2}`] || !got[`{"n":4}`] {
		t.Errorf("recovered %v", got)
	}
	o.settled()
	if j := recover(sub); j.Handled != 0 || j.Skipped != 7 {
		t.Errorf("recovered again %+v", j)
	}
	e.none(t)
}

// A dead letter that is put back by two at the same time, or again after a crash that
// has left it among the dead, is sent once.
func TestRedriveOfOneByTwo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.run(nil)
	e := newEndpoint(t, http.StatusBadRequest)
	sub, _ := o.subscribe("key-a", map[string]any{"url": e.URL, "schedule": []string{}})
	o.notify("key-a", "1", "t", `1`)
	e.next(t)
	v := o.delivery(sub.ID, string(dead), 1)
	e.status.Store(http.StatusOK)
	letter, err := h.broker.Last(t.Context(), stream.Dead, stream.DeadDelivery("default", sub.ID, v.ID))
	if err != nil {
		t.Fatal(err)
	}
	d, err := decodeDelivery(letter.Header, letter.Data)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := o.server.history.redrive(t.Context(), d, letter, "somebody"); err != nil {
			t.Fatal(err)
		}
	}
	e.next(t)
	o.delivery(sub.ID, string(delivered), 2)
	o.settled()
	e.none(t)
}
