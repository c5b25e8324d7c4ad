package receiver

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// What proves itself by its body is an event only if the secret is in it, or
// somebody knew it who signed: SOAP, items, forms with XML in them, tokens.
func FuzzBodyProof(f *testing.F) {
	const token = "00D7f3a9b2c4d5e" // and so an id of Salesforce
	f.Add("text/xml", `<e:Envelope xmlns:e="x"><e:Body><notifications><OrganizationId>00D000000000062EAA</OrganizationId></notifications></e:Body></e:Envelope>`)
	f.Add("application/json", `{"notificationItems":[{"NotificationRequestItem":{"additionalData":{"hmacSignature":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},"amount":{"value":1}}}]}`)
	f.Add("application/x-www-form-urlencoded", `bt_signature=|0000000000000000000000000000000000000000&bt_payload=PGEvPg==`)
	f.Add("application/json", `{"passcode":"x","token":"x"}`)
	f.Add("application/x-www-form-urlencoded", `token=x&command=/a`)
	var all []*Source
	for name, secret := range map[string]string{"salesforce": token, "figma": token, "slack": token, "braintree": "private", "adyen": strings.Repeat("a1", 32)} {
		params := map[string]string{"slack": "token"}[name]
		c := SourceConfig{Receiver: name, Secrets: []Secret{text(secret)}}
		if params != "" {
			c.Params = map[string]string{"scheme": params}
		}
		all = append(all, newSource(f, c))
	}
	f.Fuzz(func(t *testing.T, contentType, body string) {
		if strings.Contains(body, token[:10]) {
			return // the secret is there
		}
		for _, s := range all {
			got, err := s.Receive(newRequest(contentType, nil), []byte(body), now)
			if got.Event != nil {
				t.Fatalf("%s stores %q", s.Name(), body)
			}
			if refusal := refusalOf(err); err != nil && refusal == nil {
				t.Fatal(err)
			} else if err != nil && s.receiver.Slug == "salesforce-outbound" && (refusal.Answer == nil || refusal.Status != 400) {
				t.Errorf("no fault: %v", err)
			}
		}
	})
}

// Of a list of signed headers nothing comes out, or all that it lists, each on its own.
func FuzzSignedHeaders(f *testing.F) {
	f.Add("x-list,x-t", "1", "2")
	f.Add("x-list, X-T,host,x-a", "1\n2", "")
	f.Add("x-t;x-list", "", "")
	s, err := formed(`
signatures: [{header: X-Sig, encoding: hex, algorithm: hmac-sha256, content: "{headers:X-List}"}]
timestamp: {header: X-T, unit: s, tolerance: 5m}
`, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, list, a, b string) {
		r := newRequest("text/plain", nil)
		r.Header = http.Header{"X-List": {list}, "X-T": {"1"}, "X-A": {a}, "X-B": {a, b}}
		got := s.request(r, nil).signedHeaders("X-List")
		if got == "" {
			return
		}
		names := strings.Split(strings.ToLower(list), ",")
		for i := range names {
			names[i] = strings.TrimSpace(names[i])
		}
		if !slices.Contains(names, "x-list") || !slices.Contains(names, "x-t") || slices.Contains(names, "x-b") || !strings.Contains(got, "x-t:1") {
			t.Errorf("%q is %q", list, got)
		}
	})
}

// Whatever the query and the form are, the address stays the one that was called.
func FuzzPlivoURL(f *testing.F) {
	f.Add("a=b&c=d", "e=f")
	f.Add("a=b.ef", "")
	f.Add("%zz", "a=%zz")
	f.Fuzz(func(t *testing.T, query, body string) {
		r := newRequest(formEncoded, nil)
		r.URL.RawQuery = query
		got := (&Source{}).request(r, []byte(body)).plivoURL()
		if got == "" && body != "" {
			return // no form
		}
		if !strings.HasPrefix(got, "https://hooks.example.com/webhooks/x") {
			t.Errorf("%q and %q are %q", query, body, got)
		}
	})
}
