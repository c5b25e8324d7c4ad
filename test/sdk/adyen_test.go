package sdk

import (
	"bytes"
	"net/http"
	"testing"
	"time"
)

// Adyen signs each item of a request, in the body: what its SDK signs, with the
// colons and backslashes that other libraries have escaped, is accepted.
func TestBelayAcceptsWhatAdyenSigns(t *testing.T) {
	const body = `{"live":"false","notificationItems":[
		{"NotificationRequestItem":{"pspReference":"7914073381342284","originalReference":"","merchantAccountCode":"TestMerchant",
			"merchantReference":"a:b\\c","amount":{"value":1130,"currency":"EUR"},"eventCode":"AUTHORISATION","success":"true"}},
		{"NotificationRequestItem":{"pspReference":"7914073381342285","originalReference":"7914073381342284","merchantAccountCode":"TestMerchant",
			"merchantReference":"payment-2","amount":{"value":0,"currency":"EUR"},"eventCode":"CAPTURE","success":"false"}}]}`
	signing, verifying := secrets(t, "adyen")
	n := startNode(t)
	q := request{"adyen", http.MethodPost, "https://hooks.example.com/webhooks/adyen", http.Header{"Content-Type": {"application/json"}}, []byte(body)}
	signed, err := n.ask(t, "@adyen/api-library", "sign", q, signing)
	if err != nil {
		t.Fatal(err)
	}
	q.body = signed.Body
	if _, err := n.ask(t, "@adyen/api-library", "verify", q, verifying); err != nil {
		t.Fatalf("the SDK refuses what it signed: %v", err)
	}
	source := newSource(t, "adyen", verifying)
	if _, err := source.Receive(q.http(), q.body, time.Now()); err != nil {
		t.Errorf("Belay refuses it: %v\n%s", err, q.body)
	}
	changed := bytes.Replace(q.body, []byte(`"success":"false"`), []byte(`"success":"true"`), 1)
	if _, err := source.Receive(q.http(), changed, time.Now()); err == nil {
		t.Error("Belay accepts it with another outcome of the second item")
	}
}
