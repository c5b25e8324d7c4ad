package outbox

import (
	"net/http"
	"strings"
	"testing"
)

// All that a subscription can be told, at once, and what of it is shown again.
func TestSubscriptionSettings(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	r := o.do(http.MethodPost, "/v1/subscriptions", "key-a", jsonBody, `{
		"url": "https://bücher.example/hook?a=1", "headers": {"Authorization": "Bearer top-secret"}, "properties": {"a": {"b": 1}},
		"body": "aspnet", "signing": "ms-signature", "secret": "0123456789abcdef0123456789abcdef", "paused": true,
		"rate_limit": 0.5, "concurrency": 3, "schedule": ["5s", "1m"], "timeout": "3s", "private_filters": ["MS_Private_x"]}`)
	if r.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	for _, want := range []string{
		`"url":"https://xn--bcher-kva.example/hook?a=1"`, `"headers":{"Authorization":"[hidden]"}`, `"properties":{"a":{"b":1}}`,
		`"body":"aspnet"`, `"signing":"ms-signature"`, `"paused":true`, `"rate_limit":0.5`, `"concurrency":3`, `"schedule":["5s","1m0s"]`,
		`"timeout":"3s"`, `"private_filters":["MS_Private_x"]`, `"secret":"0123456789abcdef0123456789abcdef"`, `"filters":["*"]`,
	} {
		if !strings.Contains(string(r.body), want) {
			t.Errorf("no %s in %s", want, r.body)
		}
	}
	if log := o.log.String(); strings.Contains(log, "top-secret") || strings.Contains(log, "0123456789abcdef") {
		t.Error("the log shows a secret")
	}
	var sub Subscription
	r.into(t, &sub)
	kept, err := o.server.subscriptions.get(t.Context(), "default", sub.ID)
	if err != nil || kept.Headers["Authorization"] != "Bearer top-secret" || kept.secrets[0].Text != "0123456789abcdef0123456789abcdef" {
		t.Errorf("kept %+v, %v", kept, err)
	}
	if found := o.server.subscriptions.cache.match("default", "x"); len(found) != 0 {
		t.Error("a paused subscription matches")
	}
	// A schedule that is empty is another one than none.
	r = o.do(http.MethodPost, "/v1/subscriptions", "key-a", jsonBody, `{"url": "https://example.com/", "schedule": []}`)
	if !strings.Contains(string(r.body), `"schedule":[]`) {
		t.Errorf("without retries: %s", r.body)
	}
	// What is the operator's is refused to a tenant, and hidden from it.
	r = o.do(http.MethodPost, "/v1/subscriptions", "key-b", jsonBody, `{"url": "https://example.com/", "private_filters": ["x"]}`)
	if p := r.problem(t); p.Status != 422 || p.Errors[0].Pointer != "#/private_filters" {
		t.Errorf("private filters by a tenant: %s", r.body)
	}
}

func TestOperatorNamesTheTenant(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	in := func(key, tenant string) reply {
		return o.do(http.MethodPost, "/v1/subscriptions", key, http.Header{"Content-Type": {"application/json"}, tenantHeader: {tenant}},
			`{"url": "https://example.com/", "private_filters": null}`)
	}
	if r := in("key-a", "other"); r.StatusCode != http.StatusCreated || !strings.Contains(string(r.body), `"tenant":"other"`) {
		t.Errorf("the operator: %d %s", r.StatusCode, r.body)
	}
	if r := in("key-b", "other"); r.StatusCode != http.StatusCreated {
		t.Errorf("a tenant that names itself: %d %s", r.StatusCode, r.body)
	}
	if r := in("key-b", "default"); r.problem(t).Status != http.StatusForbidden {
		t.Errorf("a tenant that names another: %d", r.StatusCode)
	}
	if r := in("key-a", "a.b"); r.problem(t).Errors[0].Header != tenantHeader {
		t.Errorf("a tenant that cannot be: %s", r.body)
	}
}

func TestSign(t *testing.T) {
	// Made with openssl dgst -sha256 -hmac 'It is a secret of 32 characters.'
	const key, body = "It is a secret of 32 characters.", `{"a":1}`
	for signing, want := range map[Signing][2]string{
		SigningHub:    {"X-Hub-Signature-256", "sha256=8d5187e3e7e28bbd770c162b1249b27834c96a0954e76d2d206383c920dc4f86"},
		SigningASPNet: {"ms-signature", "sha256=8D5187E3E7E28BBD770C162B1249B27834C96A0954E76D2D206383C920DC4F86"},
	} {
		s := &Subscription{Signing: signing, secrets: []secret{{Text: key}}}
		header := http.Header{}
		if err := s.sign(header, request{id: "msg_1", at: testNow, body: []byte(body)}); err != nil || header.Get(want[0]) != want[1] {
			t.Errorf("%s: %v, %v", signing, header, err)
		}
	}
}
