package outbox

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/belay-hooks/belay/internal/standing"
)

// described is a caller that checks every request and every answer against the
// description.
type described struct {
	*outbox
	t      *testing.T
	router routers.Router
	seen   map[string]bool // "operation success" and "operation problem"
}

func newDescribed(t *testing.T, o *outbox) (*described, *openapi3.T) {
	t.Helper()
	answer := o.do(http.MethodGet, "/v1/openapi.yaml", "", nil, "")
	doc, err := openapi3.NewLoader().LoadFromData(answer.body)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &described{outbox: o, t: t, router: router, seen: map[string]bool{"getDescription success": true}}, doc
}

// ask makes a request and checks that its answer is as described; where it
// succeeds, that the request is, too.
func (d *described) ask(want int, method, path, key, body string, header ...string) reply {
	d.t.Helper()
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	r := d.do(method, path, key, h, body)
	if r.StatusCode != want {
		d.t.Errorf("%s %s: %d %s, want %d", method, path, r.StatusCode, r.body, want)
	}
	request, err := http.NewRequestWithContext(d.t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header = h
	if body == "" {
		request.Header.Del("Content-Type")
		request.Body, request.ContentLength = nil, 0
	}
	route, params, err := d.router.FindRoute(request)
	if err != nil {
		d.t.Errorf("%s %s is not described: %v", method, path, err)
		return r
	}
	input := &openapi3filter.RequestValidationInput{
		Request: request, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
	}
	success := r.StatusCode < 400
	if success {
		if err := openapi3filter.ValidateRequest(d.t.Context(), input); err != nil {
			d.t.Errorf("%s %s: accepted what is not described: %v", method, path, err)
		}
	}
	err = openapi3filter.ValidateResponse(d.t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: r.StatusCode, Header: r.Header, Body: io.NopCloser(bytes.NewReader(r.body)), Options: input.Options,
	})
	if err != nil {
		d.t.Errorf("%s %s: answered what is not described: %v", method, path, err)
	}
	kind := map[bool]string{true: " success", false: " problem"}[success]
	d.seen[route.Operation.OperationID+kind] = true
	return r
}

// askDeliveries asks about one that was made and about one that waits.
func (d *described) askDeliveries() {
	const path = "/v1/deliveries"
	notify := func(id string) {
		d.ask(202, http.MethodPost, "/v1/notifications", "key-a", `{}`, "Ce-Specversion", "1.0", "Ce-Id", id, "Ce-Source", "/t", "Ce-Type", "a.b")
	}
	d.subscribe("key-a", map[string]any{"url": sink(d.t, func(http.ResponseWriter, *http.Request) {}), "filters": []string{"a.b"}})
	notify("delivered")
	var page deliveryPage
	eventually(d.t, "something is delivered", func() bool {
		d.ask(200, http.MethodGet, path+"?state=delivered&type=a.*&limit=1", "key-a", "").into(d.t, &page)
		return len(page.Deliveries) > 0
	})
	d.ask(200, http.MethodGet, path, "key-a", "")
	one := path + "/" + page.Deliveries[0].ID
	d.ask(200, http.MethodGet, one+"?subscription="+page.Deliveries[0].Subscription, "key-a", "")
	d.ask(404, http.MethodGet, one, "key-b", "")
	d.ask(409, http.MethodPost, one+"/cancel", "key-a", "")
	d.ask(202, http.MethodPost, one+"/retry", "key-a", "")

	refuses := sink(d.t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	sub, _ := d.subscribe("key-a", map[string]any{"url": refuses, "filters": []string{"a.b"}, "schedule": []string{"1h"}})
	notify("waiting")
	waiting := path + "?state=pending&subscription=" + sub.ID
	eventually(d.t, "a delivery waits", func() bool {
		d.ask(200, http.MethodGet, waiting, "key-a", "").into(d.t, &page)
		return len(page.Deliveries) > 0 && page.Deliveries[0].Attempts == 1
	})
	d.ask(202, http.MethodPost, path+"/"+page.Deliveries[0].ID+"/cancel", "key-a", "")
	d.ask(422, http.MethodGet, path+"?state=nope", "key-a", "")
	d.ask(200, http.MethodGet, "/v1/subscriptions/"+sub.ID+"/health", "key-a", "")
	d.askJobs(sub.ID)
	d.ask(422, http.MethodGet, path+"?cursor=nope", "key-a", "")
}

// askJobs makes one of each kind.
func (d *described) askJobs(subscription string) {
	const path = "/v1/jobs"
	d.ask(200, http.MethodPost, path, "key-a", `{"kind":"redeliver","dry_run":true}`)
	all := `{"kind":"redeliver","why":"fixed","rate":10,"filter":{"type":"a.*","reason":"refused","notification":"1",
		"subscription":"` + subscription + `","from":"2026-01-01T00:00:00Z","until":"2100-01-01T00:00:00Z"}}`
	d.ask(201, http.MethodPost, path, "key-a", all)
	r := d.ask(201, http.MethodPost, path, "key-a", `{"kind":"recover","filter":{"subscription":"`+subscription+`","from":"2026-01-01T00:00:00Z"}}`)
	var j standing.Job
	r.into(d.t, &j)
	one := path + "/" + j.ID
	d.ask(404, http.MethodGet, one, "key-b", "")
	d.ask(422, http.MethodPost, path, "key-a", `{"kind":"recover","filter":{"type":"a"}}`)
	d.ask(422, http.MethodPost, path, "key-a", `{"rate":0,"filter":{"chain":"x","from":"then"}}`)
	d.ask(422, http.MethodPost, path, "key-a", `{"kind":"redeliver","filter":7}`)
	refuses := sink(d.t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) })
	d.subscribe("key-a", map[string]any{"url": refuses, "filters": []string{"a.b"}, "schedule": []string{}})
	for i := range 4 {
		d.ask(202, http.MethodPost, "/v1/notifications", "key-a", `{}`, "Ce-Specversion", "1.0", "Ce-Id", fmt.Sprint("dead", i), "Ce-Source", "/t", "Ce-Type", "a.b")
	}
	eventually(d.t, "they are dead", func() bool { return len(d.deliveries("state=dead").Deliveries) == 4 })
	r = d.ask(201, http.MethodPost, path, "key-a", `{"kind":"redeliver","rate":1}`)
	r.into(d.t, &j)
	for _, verb := range []string{"pause", "resume", "cancel"} {
		d.ask(200, http.MethodPost, path+"/"+j.ID+"/"+verb, "key-a", "")
	}
	d.ask(200, http.MethodGet, one, "key-a", "")
	d.ask(200, http.MethodGet, path+"?limit=1", "key-a", "")
}

// Every operation, and every status that it answers with, is as described.
func TestDescription(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	d, doc := newDescribed(t, o)
	url := sink(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Query().Get("echo")) })
	const subs = "/v1/subscriptions"
	all := `{"url":"` + url + `","description":"d","filters":["a.*"],"private_filters":["p"],"when":"body.n > 1","headers":{"X-A":"b"},"properties":{"a":1},
		"body":"aspnet","signing":"v1a","paused":false,"rate_limit":1.5,"concurrency":2,"schedule":["5s"],"timeout":"3s"}`
	d.ask(201, http.MethodPost, subs, "key-a", all, "Idempotency-Key", "k", "Belay-Tenant", "acme")
	r := d.ask(201, http.MethodPost, subs, "key-a", all)
	var sub Subscription
	r.into(t, &sub)
	one := subs + "/" + sub.ID
	tag := r.Header.Get("Etag")
	r = d.ask(200, http.MethodGet, one, "key-a", "")
	d.ask(304, http.MethodGet, one, "key-a", "", "If-None-Match", tag)
	d.ask(200, http.MethodPut, one, "key-a", string(r.body), "If-Match", tag)
	d.ask(412, http.MethodPut, one, "key-a", string(r.body), "If-Match", tag)
	d.ask(200, http.MethodPatch, one, "key-a", `{"paused":true}`)
	d.ask(200, http.MethodPatch, one, "key-a", `{"when":null}`, "Content-Type", "application/merge-patch+json")
	d.ask(200, http.MethodGet, subs+"?limit=1", "key-a", "")
	d.ask(200, http.MethodPost, one+"/pause", "key-a", "")
	d.ask(200, http.MethodPost, one+"/resume", "key-a", "")
	if _, err := o.server.subscriptions.disable(t.Context(), "default", sub.ID, ReasonGone, testNow); err != nil {
		t.Fatal(err)
	}
	o.call(http.MethodGet, one, "key-a", "") // the watch may be behind
	d.ask(200, http.MethodGet, one, "key-a", "")
	d.ask(200, http.MethodPost, one+"/rotate", "key-a", `{"overlap":"1h"}`)
	d.ask(200, http.MethodPost, one+"/rotate", "key-a", "")
	d.ask(200, http.MethodPost, one+"/test", "key-a", `{"type":"a.b","data":[1]}`)
	d.ask(204, http.MethodPost, one+"/verify", "key-a", "")
	d.ask(200, http.MethodPut, "/v1/event-types/a.b", "key-a", `{"description":"x"}`)
	eventually(t, "the type is known", func() bool { return len(o.server.types.list()) == 1 })
	d.ask(200, http.MethodGet, "/v1/event-types", "key-a", "")
	notification := `{"specversion":"1.0","id":"1","source":"/t","type":"a.b","data":{}}`
	d.ask(202, http.MethodPost, "/v1/notifications", "key-a", notification, "Content-Type", "application/cloudevents+json")
	d.ask(202, http.MethodPost, "/v1/notifications", "key-a", `{}`, "Ce-Specversion", "1.0", "Ce-Id", "2", "Ce-Source", "/t", "Ce-Type", "a.b")
	d.ask(422, http.MethodPost, "/v1/notifications", "key-a", `{}`, "Ce-Specversion", "1.0", "Ce-Id", "2", "Ce-Source", "/t", "Ce-Type", "other")
	d.ask(422, http.MethodPost, subs, "key-a", `{"url":"`+url+`","filters":["other"]}`)
	const batch = "application/cloudevents-batch+json"
	d.ask(202, http.MethodPost, "/v1/notifications", "key-a", "["+notification+`,{"specversion":"1.0","id":"b","source":"/t","type":"a.b"}]`, "Content-Type", batch)
	d.ask(400, http.MethodPost, "/v1/notifications", "key-a", "{}", "Content-Type", batch)
	d.ask(422, http.MethodPost, "/v1/notifications", "key-a", "[]", "Content-Type", batch)
	d.ask(422, http.MethodPost, "/v1/notifications", "key-a", "["+notification+",{}]", "Content-Type", batch)
	const toSome = "/v1/notifications?when=subscription.tenant+%3D%3D+%22acme%22"
	d.ask(202, http.MethodPost, toSome, "key-a", `{}`, "Ce-Specversion", "1.0", "Ce-Id", "all", "Ce-Source", "/t", "Ce-Type", "a.b", "Belay-Tenant", "*")
	d.ask(422, http.MethodPost, "/v1/notifications?when=subscription", "key-a", `{}`)
	d.ask(403, http.MethodPost, toSome, "key-b", `{}`, "Belay-Tenant", "*")
	d.ask(422, http.MethodGet, subs, "key-a", "", "Belay-Tenant", "*")
	d.askDeliveries()
	d.ask(204, http.MethodDelete, "/v1/event-types/a.b", "key-a", "")
	r = d.ask(201, http.MethodPost, "/v1/keys", "key-a", `{"access":"read","description":"x"}`)
	var key createdKey
	r.into(t, &key)
	d.ask(200, http.MethodGet, "/v1/keys", "key-a", "")
	eventually(t, "the key is known", func() bool { return o.server.ring.size() == 1 })
	d.ask(403, http.MethodPost, subs, key.Key, all)
	d.ask(403, http.MethodGet, subs, "key-b", "", "Belay-Tenant", "acme")
	d.ask(422, http.MethodGet, subs, "key-a", "", "Belay-Tenant", "a b")
	d.ask(204, http.MethodDelete, "/v1/keys/"+key.ID, "key-a", "")
	d.ask(204, http.MethodDelete, one, "key-a", "")
	d.ask(200, http.MethodDelete, subs, "key-a", "")

	// What is wrong, of every kind, of every operation.
	d.ask(400, http.MethodPost, subs, "key-a", `nope`)
	d.ask(413, http.MethodPost, subs, "key-a", `{"description":"`+strings.Repeat("a", 10<<20)+`"}`)
	d.ask(415, http.MethodPost, subs, "key-a", `{}`, "Content-Type", "text/plain")
	d.ask(422, http.MethodPost, subs, "key-a", `{"x/y":1,"filters":["a*b",""],"headers":{"Host":"x"}}`)
	d.ask(422, http.MethodGet, subs+"?limit=x&y=z", "key-a", "")
	for path, item := range doc.Paths.Map() {
		if path == "/v1/openapi.yaml" {
			continue
		}
		path = strings.NewReplacer("{id}", "none", "{name}", "none.*").Replace(path)
		for method := range item.Operations() {
			d.ask(401, method, path, "wrong", `{}`)
			if strings.Contains(path, "none") {
				want := http.StatusNotFound
				if strings.Contains(path, "*") && method == http.MethodPut {
					want = http.StatusUnprocessableEntity
				} else if strings.Contains(path, "*") {
					continue
				}
				d.ask(want, method, path, "key-a", `{}`)
			}
		}
	}
	var lacking []string
	for _, item := range doc.Paths.Map() {
		for _, operation := range item.Operations() {
			for _, kind := range []string{" success", " problem"} {
				if name := operation.OperationID + kind; !d.seen[name] && name != "getDescription problem" {
					lacking = append(lacking, name)
				}
			}
		}
	}
	slices.Sort(lacking)
	if len(lacking) > 0 {
		t.Errorf("not tried: %v", lacking)
	}
}

// The description has every path and method that is served, and no others.
func TestDescriptionIsComplete(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(description)
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{"GET /v1/openapi.yaml": true}
	for path, v := range (&api{Server: &Server{}}).paths() {
		for method := range v {
			served[method+" "+path] = true
		}
	}
	told := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			told[method+" "+path] = true
		}
	}
	if !maps.Equal(served, told) {
		t.Errorf("served: %v\ndescribed: %v", slices.Sorted(maps.Keys(served)), slices.Sorted(maps.Keys(told)))
	}
}
