package receiver

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// A signature that stands in the body is written there, and nothing else changes.
func TestSignIntoTheBody(t *testing.T) {
	const form, multipart = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
	for name, test := range map[string]struct {
		receiver, contentType, body string
		want                        string // the body, where … is what was written; empty: an error
		wantError                   string
	}{
		"a JSON value": {
			receiver: "figma", body: ` {"event_type": "PING",  "passcode":"another", "n": 1.0}`,
			want: ` {"event_type": "PING",  "passcode":"…", "n": 1.0}`,
		},
		"a JSON value that is not there": {receiver: "figma", body: `{"event_type":"PING"}`, want: `{"event_type":"PING","passcode":"…"}`},
		"of each item":                   {receiver: "ms-graph", body: `{"value":[{"a":1},{"clientState":""}]}`, want: `{"value":[{"a":1,"clientState":"…"},{"clientState":"…"}]}`},
		"inside an item": {
			receiver: "adyen", body: `{"notificationItems":[{"NotificationRequestItem":{"pspReference":"1"}}]}`,
			want: `{"notificationItems":[{"NotificationRequestItem":{"pspReference":"1","additionalData":{"hmacSignature":"…"}}}]}`,
		},
		"JSON in a form": {
			receiver: "dropbox-sign", contentType: form, body: `a=b&json=%7B%22event%22%3A%7B%22event_time%22%3A%221795341600%22%2C%22event_type%22%3A%22a%22%7D%7D`,
			want: `a=b&json=%7B%22event%22%3A%7B%22event_time%22%3A%221795341600%22%2C%22event_type%22%3A%22a%22%2C%22event_hash%22%3A%22…%22%7D%7D`,
		},
		"a field":                   {receiver: "mailgun-routes", contentType: form, body: "signature=0&timestamp=1795341600&token=%61&signature=1&to=a+b", want: "signature=…&timestamp=1795341600&token=%61&to=a+b"},
		"a field that is not there": {receiver: "mailgun-routes", contentType: form, body: "timestamp=1795341600&token=a&", want: "timestamp=1795341600&token=a&signature=…"},
		"of a list":                 {receiver: "braintree", contentType: form, body: "bt_payload=YQ%3D%3D", want: "bt_payload=YQ%3D%3D&bt_signature=%7C…"},
		"no JSON":                   {receiver: "figma", body: `{`, wantError: "no JSON document"},
		"no items":                  {receiver: "adyen", body: `{"notificationItems":[]}`, wantError: "no items"},
		"multipart": {
			receiver: "mailgun-routes", contentType: multipart, wantError: "only one of the type " + form,
			body: "--b\r\nContent-Disposition: form-data; name=\"timestamp\"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n2\r\n--b--\r\n",
		},
		"XML": {receiver: "salesforce-outbound", contentType: "text/xml", body: `<Envelope/>`, wantError: "must have it already"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := Lookup(test.receiver)
			s := newSource(t, SourceConfig{Receiver: test.receiver, Secrets: []Secret{secretFor(t, r)}})
			request := httptest.NewRequest("POST", "https://hooks.example.com/", nil)
			request.Header.Set("Content-Type", test.contentType)
			if test.contentType == "" {
				request.Header.Set("Content-Type", "application/json")
			}
			got, err := s.Sign(request, []byte(test.body), now)
			if test.want == "" {
				if err == nil || !strings.Contains(err.Error(), test.wantError) {
					t.Fatalf("signed %s, error %v; want one with %q", got, err, test.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			rest := string(got)
			for i, piece := range strings.Split(test.want, "…") {
				before, after, found := strings.Cut(rest, piece)
				if piece == "" && i > 0 {
					before, after, found = rest, "", true
				}
				if !found || i == 0 && before != "" {
					t.Fatalf("signed %s, want %s", got, test.want)
				}
				rest = after
			}
			if rest != "" {
				t.Errorf("signed %s, want %s", got, test.want)
			}
			if err := s.verify(s.request(request, got), now); err != nil {
				t.Errorf("it does not verify: %v", err)
			}
			again, err := s.Sign(request, got, now)
			if err != nil || string(again) != string(got) {
				t.Errorf("signed again: %s, %v", again, err)
			}
		})
	}
}
