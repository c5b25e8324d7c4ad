package outbox

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/belay-hooks/belay/internal/seal"
	"github.com/belay-hooks/belay/pkg/stream"
	"github.com/belay-hooks/belay/pkg/webhook"
)

func (o *outbox) call(method, path, key, body string, header ...string) reply {
	o.t.Helper()
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(header); i += 2 {
		h[header[i]] = []string{header[i+1]}
	}
	return o.do(method, path, key, h, body)
}

func TestChangeSubscription(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	sub, secret := o.subscribe("key-a", map[string]any{
		"url": "https://example.com/a", "headers": map[string]string{"X-A": "1", "X-B": "2"}, "filters": []string{"a"}, "private_filters": []string{"p"},
	})
	path := "/v1/subscriptions/" + sub.ID
	read := o.call(http.MethodGet, path, "key-a", "")
	tag := read.Header.Get("Etag")
	if r := o.call(http.MethodGet, path, "key-a", "", "If-None-Match", tag); r.StatusCode != http.StatusNotModified {
		t.Errorf("not modified: %d", r.StatusCode)
	}
	// What was read can be written back, and changes nothing.
	r := o.call(http.MethodPut, path, "key-a", string(read.body), "If-Match", tag)
	if r.StatusCode != http.StatusOK || r.Header.Get("Etag") == tag {
		t.Fatalf("written back: %d %s", r.StatusCode, r.body)
	}
	kept, err := o.server.subscriptions.get(t.Context(), "default", sub.ID)
	if err != nil || kept.Headers["X-A"] != "1" || kept.Headers["X-B"] != "2" || kept.PrivateFilters[0] != "p" || kept.secrets[0].Text != secret {
		t.Errorf("kept %+v, %v", kept, err)
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if r := o.call(method, path, "key-a", `{"url":"https://example.com/b"}`, "If-Match", tag); r.problem(t).Status != http.StatusPreconditionFailed {
			t.Errorf("%s of what was changed meanwhile: %d", method, r.StatusCode)
		}
	}
	r = o.call(http.MethodPatch, path, "key-a", `{"headers":{"X-B":null,"X-C":"3"},"when":"body.n > 1","rate_limit":2,"filters":["b.*"]}`, "If-Match", r.Header.Get("Etag"))
	var patched Subscription
	r.into(t, &patched)
	if fmt.Sprint(patched.Headers) != "map[X-A:[hidden] X-C:[hidden]]" || patched.When == "" || patched.URL != "https://example.com/a" || patched.Filters[0] != "b.*" {
		t.Errorf("patched: %s", r.body)
	}
	r = o.call(http.MethodPatch, path, "key-a", `{"when":null,"headers":null,"rate_limit":null}`)
	if strings.Contains(string(r.body), "when") || strings.Contains(string(r.body), "headers") || strings.Contains(string(r.body), "rate_limit") {
		t.Errorf("patched with null: %s", r.body)
	}
	for name, c := range map[string]struct{ body, pointer string }{
		"unknown field": {`{"x":1}`, "#/x"},
		"bad field":     {`{"timeout":"1h"}`, "#/timeout"},
		"no url":        {`{"url":null}`, "#/url"},
		"secret":        {`{"secret":"` + testSecret + `"}`, "#/secret"},
		"signing":       {`{"signing":"ms-signature"}`, "#/signing"},
	} {
		if p := o.call(http.MethodPatch, path, "key-a", c.body).problem(t); p.Status != 422 || p.Errors[0].Pointer != c.pointer {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if r := o.call(http.MethodPatch, path, "key-b", `{}`); r.problem(t).Status != http.StatusNotFound {
		t.Errorf("another tenant's: %d", r.StatusCode)
	}
	// Many change it at once, and nothing is lost.
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for {
				r := o.call(http.MethodPatch, path, "key-a", fmt.Sprintf(`{"properties":{"p%d":1}}`, i))
				if r.StatusCode == http.StatusOK {
					return
				}
				if r.StatusCode != http.StatusConflict {
					t.Errorf("at once: %d %s", r.StatusCode, r.body)
					return
				}
			}
		})
	}
	all.Wait()
	if kept, _ := o.server.subscriptions.get(t.Context(), "default", sub.ID); len(kept.Properties) != 8 {
		t.Errorf("%d changes of 8 are kept", len(kept.Properties))
	}
	r = o.call(http.MethodPost, path+"/pause", "key-a", "")
	if !strings.Contains(string(r.body), `"paused":true`) || len(o.server.subscriptions.cache.match("default", "b.c")) != 0 {
		t.Errorf("paused: %s", r.body)
	}
	if _, err := o.server.subscriptions.disable(t.Context(), "default", sub.ID, ReasonGone, time.Now()); err != nil {
		t.Fatal(err)
	}
	r = o.call(http.MethodPost, path+"/resume", "key-a", "")
	if strings.Contains(string(r.body), `"disabled"`) || len(o.server.subscriptions.cache.match("default", "b.c")) != 1 {
		t.Errorf("resumed: %s", r.body)
	}
	foreign, _ := o.subscribe("key-b", map[string]any{"url": "https://example.com/"})
	o.subscribe("key-a", map[string]any{"url": "https://example.com/"})
	if r := o.call(http.MethodDelete, "/v1/subscriptions", "key-a", ""); string(r.body) != `{"deleted":2,"more":false}`+"\n" {
		t.Errorf("all deleted: %s", r.body)
	}
	if r := o.call(http.MethodGet, "/v1/subscriptions/"+foreign.ID, "key-b", ""); r.StatusCode != http.StatusOK {
		t.Errorf("another tenant's is gone: %d", r.StatusCode)
	}
	if log := o.log.String(); !strings.Contains(log, "by=BELAY_API_KEYS:1") || strings.Contains(log, "whsec_") {
		t.Error("the record of changes lacks who, or shows a secret")
	}
}

// sink is a subscriber that answers and remembers.
func sink(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s.URL
}

func TestRotateAndTest(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	var mu sync.Mutex
	var signatures string
	url := sink(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		signatures = r.Header.Get(webhook.HeaderSignature)
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "short and stout")
	})
	sub, first := o.subscribe("key-a", map[string]any{"url": url})
	path := "/v1/subscriptions/" + sub.ID
	signed := func() int {
		r := o.call(http.MethodPost, path+"/test", "key-a", `{"type":"a.b","data":{"x":1}}`)
		var got tested
		r.into(t, &got)
		if r.StatusCode != http.StatusOK || got.Status != http.StatusTeapot || got.Body != "short and stout" || got.Reason != ReasonRefused {
			t.Errorf("test: %d %s", r.StatusCode, r.body)
		}
		mu.Lock()
		defer mu.Unlock()
		return len(strings.Fields(signatures))
	}
	if n := signed(); n != 1 {
		t.Errorf("%d signatures before the rotation", n)
	}
	r := o.call(http.MethodPost, path+"/rotate", "key-a", "")
	var rotated shown
	r.into(t, &rotated)
	if rotated.Secret == "" || rotated.Secret == first || len(rotated.Secrets) != 2 || time.Until(rotated.Secrets[1].Expires) < 23*time.Hour {
		t.Errorf("rotated: %s", r.body)
	}
	if n := signed(); n != 2 {
		t.Errorf("%d signatures within the overlap", n)
	}
	o.call(http.MethodPost, path+"/rotate", "key-a", `{"overlap":"0s","secret":"`+testSecret+`"}`).into(t, &rotated)
	if rotated.Secret != testSecret || signed() != 1 {
		t.Errorf("without overlap: %+v", rotated)
	}
	for body, pointer := range map[string]string{`{"overlap":"1000h"}`: "#/overlap", `{"secret":"x"}`: "#/secret", `{"x":1}`: "#/x"} {
		if p := o.call(http.MethodPost, path+"/rotate", "key-a", body).problem(t); p.Errors[0].Pointer != pointer {
			t.Errorf("%s: %+v", body, p)
		}
	}
	for range maxSecrets - 1 {
		o.call(http.MethodPost, path+"/rotate", "key-a", "")
	}
	if r := o.call(http.MethodPost, path+"/rotate", "key-a", ""); r.problem(t).Status != http.StatusConflict {
		t.Errorf("too many secrets: %d", r.StatusCode)
	}
}

func TestSecretsExpire(t *testing.T) {
	s := &Subscription{secrets: []secret{{Text: "new"}, {Text: "old", Expires: testNow}}}
	if live := s.liveSecrets(testNow.Add(-time.Second)); len(live) != 2 {
		t.Errorf("before: %v", live)
	}
	if live := s.liveSecrets(testNow); len(live) != 1 || live[0] != "new" {
		t.Errorf("after: %v", live)
	}
}

func TestVerifyURL(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(func(c *Config) { c.VerifyURLs = true })
	good := sink(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Query().Get("a") == "1" && r.Header.Get("X-A") == "b" {
			fmt.Fprintln(w, r.URL.Query().Get("echo"))
		}
	})
	other := sink(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	refuses := sink(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, r.URL.Query().Get("echo"))
	})
	create := func(url string) reply {
		return o.call(http.MethodPost, "/v1/subscriptions", "key-a", `{"url":"`+url+`","headers":{"X-A":"b"}}`)
	}
	r := create(good + "/?a=1")
	if r.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	var sub Subscription
	r.into(t, &sub)
	for _, url := range []string{other, refuses, "http://127.0.0.1:2/"} {
		if p := create(url).problem(t); p.Status != 422 || p.Errors[0].Pointer != "#/url" {
			t.Errorf("%s: %+v", url, p)
		}
		if r := create(url + "?NoEcho"); r.StatusCode != http.StatusCreated {
			t.Errorf("noecho: %d %s", r.StatusCode, r.body)
		}
	}
	path := "/v1/subscriptions/" + sub.ID
	if r := o.call(http.MethodPatch, path, "key-a", `{"url":"`+other+`"}`); r.problem(t).Status != 422 {
		t.Errorf("another URL: %d", r.StatusCode)
	}
	if r := o.call(http.MethodPost, path+"/verify", "key-a", ""); r.StatusCode != http.StatusNoContent {
		t.Errorf("verify: %d %s", r.StatusCode, r.body)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	ids := make(chan string, 8)
	var all sync.WaitGroup
	create := func(key, idempotency, body string) reply {
		return o.call(http.MethodPost, "/v1/subscriptions", key, body, "Idempotency-Key", idempotency)
	}
	const body = `{"url":"https://example.com/"}`
	for range cap(ids) {
		all.Go(func() {
			r := create("key-a", "once", body)
			if r.StatusCode != http.StatusCreated {
				t.Errorf("%d %s", r.StatusCode, r.body)
			}
			var s shown
			r.into(t, &s)
			ids <- s.ID + s.Secret
		})
	}
	all.Wait()
	first := <-ids
	for range cap(ids) - 1 {
		if next := <-ids; next != first {
			t.Errorf("made %s and %s", first, next)
		}
	}
	if n := o.server.subscriptions.cache.size(); n != 1 {
		t.Errorf("%d subscriptions", n)
	}
	if r := create("key-a", "once", `{"url":"https://example.com/b"}`); r.problem(t).Status != 422 {
		t.Errorf("another request: %d", r.StatusCode)
	}
	if r := create("key-b", "once", body); r.StatusCode != http.StatusCreated {
		t.Errorf("another tenant: %d", r.StatusCode)
	}
	if r := create("key-a", strings.Repeat("a", 300), body); r.problem(t).Errors[0].Header != "Idempotency-Key" {
		t.Errorf("long key: %s", r.body)
	}
}

func TestEventTypes(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	if r := o.call(http.MethodGet, "/v1/event-types", "key-b", ""); string(r.body) != `{"declared":false,"event_types":[{"name":"*","description":"All events."}]}`+"\n" {
		t.Errorf("at first: %s", r.body)
	}
	if r := o.call(http.MethodPut, "/v1/event-types/deploy.done", "key-b", `{}`); r.problem(t).Status != http.StatusForbidden {
		t.Errorf("by a tenant: %d", r.StatusCode)
	}
	if r := o.call(http.MethodPut, "/v1/event-types/deploy.done", "key-a", `{"description":"A deploy is done."}`); r.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if r := o.call(http.MethodPut, "/v1/event-types/deploy.*", "key-a", `{}`); r.problem(t).Status != 422 {
		t.Errorf("with a wildcard: %d", r.StatusCode)
	}
	eventually(t, "the change is seen", func() bool { return len(o.server.types.list()) == 1 })
	for filter, status := range map[string]int{"deploy.done": 201, "deploy.*": 201, "*": 201, "deploy.started": 422, "*.started": 422} {
		if r := o.call(http.MethodPost, "/v1/subscriptions", "key-b", `{"url":"https://example.com/","filters":["`+filter+`"]}`); r.StatusCode != status {
			t.Errorf("%s: %d %s", filter, r.StatusCode, r.body)
		}
	}
	o.notify("key-a", "1", "deploy.done", "{}")
	if r := o.do(http.MethodPost, "/v1/notifications", "key-a", structured, `{"specversion":"1.0","id":"2","source":"/t","type":"deploy.dnoe"}`); r.problem(t).Status != 422 {
		t.Errorf("a type that is not declared: %d", r.StatusCode)
	}
	if r := o.call(http.MethodDelete, "/v1/event-types/deploy.done", "key-a", ""); r.StatusCode != http.StatusNoContent {
		t.Errorf("delete: %d", r.StatusCode)
	}
	eventually(t, "the change is seen", func() bool { return o.server.types.declares("anything") })
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o, second := h.run(nil), h.run(func(c *Config) { c.APIKeys = nil })
	make := func(body string) createdKey {
		t.Helper()
		r := o.call(http.MethodPost, "/v1/keys", "key-a", body, tenantHeader, "acme")
		var k createdKey
		r.into(t, &k)
		if r.StatusCode != http.StatusCreated || !strings.HasPrefix(k.Key, k.Prefix) || len(k.Key) < 26 || k.Tenant != "acme" {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		return k
	}
	reader, writer := make(`{"description":"for reading"}`), make(`{"access":"write"}`)
	if reader.Access != "read" {
		t.Errorf("by default: %+v", reader)
	}
	// Every process knows them within a second.
	began := time.Now()
	eventually(t, "the change is seen", func() bool { return o.server.ring.size() == 2 && second.server.ring.size() == 2 })
	if took := time.Since(began); took > time.Second {
		t.Errorf("known after %v", took)
	}
	const sub = `{"url":"https://example.com/"}`
	if r := second.call(http.MethodPost, "/v1/subscriptions", writer.Key, sub); r.StatusCode != http.StatusCreated || !strings.Contains(string(r.body), `"tenant":"acme"`) {
		t.Errorf("writer: %d %s", r.StatusCode, r.body)
	}
	if r := second.call(http.MethodGet, "/v1/subscriptions", reader.Key, ""); r.StatusCode != http.StatusOK {
		t.Errorf("reader: %d", r.StatusCode)
	}
	for _, c := range [][2]string{
		{http.MethodPost, "/v1/subscriptions"}, {http.MethodDelete, "/v1/subscriptions"}, {http.MethodDelete, "/v1/subscriptions/sub_1"},
		{http.MethodPut, "/v1/subscriptions/sub_1"}, {http.MethodPatch, "/v1/subscriptions/sub_1"}, {http.MethodPost, "/v1/subscriptions/sub_1/pause"},
		{http.MethodPost, "/v1/subscriptions/sub_1/resume"}, {http.MethodPost, "/v1/subscriptions/sub_1/rotate"}, {http.MethodPost, "/v1/subscriptions/sub_1/test"},
		{http.MethodPost, "/v1/subscriptions/sub_1/verify"}, {http.MethodPost, "/v1/notifications"},
	} {
		if r := o.call(c[0], c[1], reader.Key, sub); r.problem(t).Status != http.StatusForbidden {
			t.Errorf("%s %s with a key for reading: %d", c[0], c[1], r.StatusCode)
		}
	}
	for _, key := range []string{reader.Key, writer.Key, "key-b"} {
		for _, c := range [][2]string{{http.MethodGet, "/v1/keys"}, {http.MethodPost, "/v1/keys"}, {http.MethodDelete, "/v1/keys/" + reader.ID}} {
			if r := o.call(c[0], c[1], key, `{}`); r.problem(t).Status != http.StatusForbidden {
				t.Errorf("%s %s by a tenant: %d", c[0], c[1], r.StatusCode)
			}
		}
	}
	r := o.call(http.MethodGet, "/v1/keys", "key-a", "", tenantHeader, "acme")
	if strings.Contains(string(r.body), writer.Key) || !strings.Contains(string(r.body), writer.Prefix) || strings.Contains(string(r.body), hashKey(writer.Key)) {
		t.Errorf("listed: %s", r.body)
	}
	if r := o.call(http.MethodGet, "/v1/keys", "key-a", ""); string(r.body) != `{"keys":[]}`+"\n" {
		t.Errorf("of another tenant: %s", r.body)
	}
	if r := o.call(http.MethodDelete, "/v1/keys/"+writer.ID, "key-a", ""); r.problem(t).Status != http.StatusNotFound {
		t.Errorf("another tenant's is revoked: %d", r.StatusCode)
	}
	if r := o.call(http.MethodDelete, "/v1/keys/"+writer.ID, "key-a", "", tenantHeader, "acme"); r.StatusCode != http.StatusNoContent {
		t.Errorf("revoke: %d %s", r.StatusCode, r.body)
	}
	eventually(t, "the change is seen", func() bool { return second.server.ring.size() == 1 })
	if r := second.call(http.MethodGet, "/v1/subscriptions", writer.Key, ""); r.problem(t).Status != http.StatusUnauthorized {
		t.Errorf("revoked: %d", r.StatusCode)
	}
	if log := o.log.String(); strings.Contains(log, writer.Key) || !strings.Contains(log, writer.ID) {
		t.Error("the record shows a key, or lacks its id")
	}
}

func TestKeyset(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	dir := t.TempDir()
	box := func(name string) *seal.Box {
		t.Helper()
		b, err := seal.Ensure(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	stored := func(id string) string {
		t.Helper()
		e, err := h.broker.Bucket(stream.Subscriptions).Get(t.Context(), "default."+id)
		if err != nil {
			t.Fatal(err)
		}
		return string(e.Value)
	}
	// What was stored in the clear is read with a keyset, and sealed when it changes.
	o := h.run(nil)
	sub, secret := o.subscribe("key-a", map[string]any{"url": "https://example.com/", "headers": map[string]string{"X-A": "top-secret"}})
	if !strings.Contains(stored(sub.ID), secret) {
		t.Error("not in the clear")
	}
	o.stop()
	o = h.run(func(c *Config) { c.Keyset = box("a") })
	path := "/v1/subscriptions/" + sub.ID
	if r := o.call(http.MethodPost, path+"/pause", "key-a", ""); r.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	before := stored(sub.ID)
	if strings.Contains(before, "whsec_") || strings.Contains(before, "top-secret") {
		t.Errorf("stored %s", before)
	}
	o.stop()
	// After a rotation of the keyset the old is read, and what changes is sealed anew.
	if err := seal.Rotate(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	o = h.run(func(c *Config) { c.Keyset = box("a") })
	if r := o.call(http.MethodPost, path+"/resume", "key-a", ""); r.StatusCode != http.StatusOK {
		t.Fatalf("after the rotation: %d %s", r.StatusCode, r.body)
	}
	kept, err := o.server.subscriptions.get(t.Context(), "default", sub.ID)
	if err != nil || kept.secrets[0].Text != secret || kept.Headers["X-A"] != "top-secret" || stored(sub.ID) == before {
		t.Errorf("kept %+v, %v", kept, err)
	}
	o.stop()
	// A wrong keyset, or none, ends the start.
	for name, keyset := range map[string]*seal.Box{"wrong": box("b"), "none": nil} {
		s, err := New(Config{Addr: "127.0.0.1:0", APIKeys: []string{"key-a"}, Keyset: keyset}, h.broker, o.server.log, prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		err = s.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), sub.ID) || !strings.Contains(err.Error(), "BELAY_KEYSET") {
			t.Errorf("%s keyset: %v", name, err)
		}
		if s.Ready(t.Context()) == nil {
			t.Errorf("%s keyset: it says that it is ready", name)
		}
	}
	// One that runs ends when it meets what it cannot open, rather than pass it over.
	if err := h.broker.Bucket(stream.Subscriptions).Delete(t.Context(), "default."+sub.ID); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Addr: "127.0.0.1:0", APIKeys: []string{"key-a"}, Keyset: box("b")}, h.broker, o.server.log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	eventually(t, "it runs", func() bool { return s.Ready(t.Context()) == nil })
	o = h.run(func(c *Config) { c.Keyset = box("a") })
	o.call(http.MethodPost, "/v1/subscriptions", "key-a", `{"url":"https://example.com/"}`)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "BELAY_KEYSET") {
		t.Errorf("another keyset beside it: %v", err)
	}
	o.stop()
}

// A condition decides over the data; one that cannot be evaluated does not hold.
func TestWhen(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	got := make(chan string, 10)
	url := sink(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.URL.Path })
	for path, when := range map[string]string{"/all": "", "/large": "body.n > 10", "/typed": `event.type == "b"`, "/broken": "body.missing.field == 1"} {
		o.subscribe("key-a", map[string]any{"url": url + path, "when": when})
	}
	o.notify("key-a", "1", "a", `{"n":11}`)
	seen := map[string]int{}
	for range 2 {
		seen[<-got]++
	}
	o.notify("key-a", "2", "b", `{"n":3}`)
	for range 2 {
		seen[<-got]++
	}
	if fmt.Sprint(seen) != "map[/all:2 /large:1 /typed:1]" {
		t.Errorf("delivered %v", seen)
	}
}
