package outbox

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// A notification of which a part is gone, as the oldest one's is when it is just being
// removed, ends no recovery of the others: its condition does not hold.
func TestRecoverPastAnUnreadableOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.run(nil)
	since := time.Now().Add(-time.Minute).UTC()
	body := bytes.Repeat([]byte(" "), 2<<20)
	if _, err := h.broker.StoreEvent(t.Context(), &event.Event{
		ID: "large", Source: "/chains/c", Type: "t", Time: time.Now(), Tenant: "default", ContentType: "application/json", Body: append(body, `{"n":1}`...),
	}); err != nil {
		t.Fatal(err)
	}
	o.notify("key-a", "small", "t", `{"n":2}`)
	h.fannedOut(2)
	part, err := h.broker.Get(t.Context(), stream.Notify, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.broker.Delete(t.Context(), part, false); err != nil {
		t.Fatal(err)
	}
	e := newEndpoint(t, http.StatusOK)
	sub, _ := o.subscribe("key-a", map[string]any{"url": e.URL, "when": "body.n > 0"})
	j := o.ended(o.begin(map[string]any{"kind": "recover", "filter": map[string]any{"subscription": sub.ID, "from": since}}).ID)
	if j.Handled != 1 || j.Skipped != 1 {
		t.Errorf("recovered %+v", j)
	}
	if got := e.next(t); string(got.body) != `{"n":2}` {
		t.Errorf("recovered %s", got.body)
	}
}

// What was delivered is known for as long as attempts are kept: nothing from before that
// is sent, again for all that is known.
func TestRecoverFromBeforeTheHistory(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if err := h.broker.Migrate(t.Context(), stream.Topology{Shards: 2, History: time.Second}); err != nil {
		t.Fatal(err)
	}
	o := h.run(nil)
	e := newEndpoint(t, http.StatusOK)
	sub, _ := o.subscribe("key-a", map[string]any{"url": e.URL})
	o.notify("key-a", "1", "t", `1`)
	e.next(t)
	o.settled()
	eventually(t, "the attempt is not kept any more", func() bool { return len(h.messages(stream.Attempts)) == 0 })
	since := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	r := o.do(http.MethodPost, "/v1/jobs", "key-a", jsonBody, `{"kind":"recover","filter":{"subscription":"`+sub.ID+`","from":"`+since+`"}}`)
	if r.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r.StatusCode == http.StatusCreated {
		eventually(t, "it is sent again", func() bool { return len(e.posts) > 0 })
		e.none(t)
	}
}
