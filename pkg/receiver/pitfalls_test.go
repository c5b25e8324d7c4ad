package receiver

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// What senders do that is easily taken for something else.
func TestPitfalls(t *testing.T) {
	hex := strings.Repeat("0", 64)
	for name, test := range map[string]struct {
		receiver, body string
		header         map[string]string // of what is signed
		change         func(http.Header)
		late           time.Duration
		want           Reason
	}{
		"github, SHA-1 alone": {receiver: "github", want: SignatureMissing, change: func(h http.Header) {
			h.Del("X-Hub-Signature-256")
			h.Set("X-Hub-Signature", "sha1="+hex[:40])
		}},
		"bitbucket, SHA-1":                {receiver: "bitbucket", want: SignatureWrong, change: set("X-Hub-Signature", "sha1="+hex[:40])},
		"gitea without a secret":          {receiver: "gitea", want: SignatureMissing, change: set("X-Gitea-Signature", "")},
		"gitlab, an empty token":          {receiver: "gitlab", want: SignatureMissing, change: set("X-Gitlab-Token", "")},
		"telegram, the token twice":       {receiver: "telegram", want: HeaderRepeated, change: twice("X-Telegram-Bot-Api-Secret-Token")},
		"slack, the signature twice":      {receiver: "slack", want: HeaderRepeated, change: twice("X-Slack-Signature")},
		"slack, the time twice":           {receiver: "slack", want: HeaderRepeated, change: twice("X-Slack-Request-Timestamp")},
		"shopify, the topic twice":        {receiver: "shopify", want: HeaderRepeated, change: twice("X-Shopify-Topic"), header: map[string]string{"X-Shopify-Topic": "orders/create"}},
		"stripe, the signature twice":     {receiver: "stripe", want: HeaderRepeated, change: twice("Stripe-Signature")},
		"hubspot, version 1 alone":        {receiver: "hubspot", want: SignatureMissing, change: func(h http.Header) { h.Del("X-HubSpot-Signature-v3"); h.Set("X-HubSpot-Signature", hex) }},
		"twitter, hex":                    {receiver: "x-twitter", want: SignatureWrong, change: set("X-Twitter-Webhooks-Signature", "sha256="+hex)},
		"typeform, hex":                   {receiver: "typeform", want: SignatureWrong, change: set("Typeform-Signature", "sha256="+hex)},
		"pagerduty, several":              {receiver: "pagerduty", change: before("X-PagerDuty-Signature", "v1="+hex+",")},
		"pagerduty, a later version":      {receiver: "pagerduty", want: SignatureWrong, change: set("X-PagerDuty-Signature", "v2="+hex)},
		"circleci, a later version too":   {receiver: "circleci", change: before("circleci-signature", "v2="+hex+",")},
		"paddle, several":                 {receiver: "paddle", change: before("Paddle-Signature", "h1="+hex+";")},
		"calendly, several":               {receiver: "calendly", change: before("Calendly-Webhook-Signature", "v1="+hex+",")},
		"recurly, several":                {receiver: "recurly", change: func(h http.Header) { h.Set("recurly-signature", h.Get("recurly-signature")+","+hex) }},
		"svix, a key of another kind too": {receiver: "svix", change: before("svix-signature", "v1a,AAAA ")},
		"mux, from the future":            {receiver: "mux", late: -6 * time.Minute, want: TimestampFuture},
		"hubspot, from the future":        {receiver: "hubspot", late: -6 * time.Minute, want: TimestampFuture},
		"workos, too old":                 {receiver: "workos", late: 4 * time.Minute, want: TimestampStale},
		"linear, too old":                 {receiver: "linear", body: `{"webhookTimestamp":1795341600000}`, late: 2 * time.Minute, want: TimestampStale},
		"sendgrid, a retry of yesterday":  {receiver: "sendgrid", body: `[]`, late: 24 * time.Hour},
		"ghost, a slow clock":             {receiver: "ghost", late: time.Hour},
		"google, no body at all":          {receiver: "google-push", body: " ", header: map[string]string{"X-Goog-Resource-State": "exists", "Content-Type": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := Lookup(test.receiver)
			s := newSource(t, SourceConfig{Receiver: test.receiver, Secrets: []Secret{secretFor(t, f)}})
			body := []byte(test.body)
			switch test.body {
			case "":
				body = someBody
			case " ":
				body = nil
			}
			r := signed(t, s, "application/json", body, test.header)
			if test.change != nil {
				test.change(r.Header)
			}
			if _, err := s.Receive(r, body, now.Add(test.late)); reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func set(name, value string) func(http.Header) {
	return func(h http.Header) { h.Set(name, value) }
}

func before(name, value string) func(http.Header) {
	return func(h http.Header) { h.Set(name, value+h.Get(name)) }
}

func twice(name string) func(http.Header) {
	return func(h http.Header) { h.Add(name, h.Get(name)) }
}

// A retry is the same event, and two events are two, whatever else is the same.
func TestRetriesHaveOneID(t *testing.T) {
	type request struct {
		body   string
		header map[string]string
	}
	for name, test := range map[string]struct {
		receiver      string
		first, second request
		same          bool
	}{
		"coinbase counts attempts in the body": {"coinbase-commerce", request{`{"id":1,"attempt_number":1,"event":{"id":"e"}}`, nil}, request{`{"id":1,"attempt_number":2,"event":{"id":"e"}}`, nil}, true},
		"box names each attempt":               {"box", request{`{"id":"1"}`, map[string]string{"BOX-DELIVERY-ID": "a"}}, request{`{"id":"1"}`, map[string]string{"BOX-DELIVERY-ID": "b"}}, true},
		"github delivers again":                {"github", request{`{}`, map[string]string{"X-GitHub-Delivery": "a"}}, request{`{}`, map[string]string{"X-GitHub-Delivery": "a"}}, true},
		"sparkpost sends a batch again":        {"sparkpost", request{`[]`, map[string]string{"X-MessageSystems-Batch-ID": "a"}}, request{`[]`, map[string]string{"X-MessageSystems-Batch-ID": "a"}}, true},
		"dropbox says the same of two changes": {"dropbox", request{`{"list_folder":{}}`, nil}, request{`{"list_folder":{}}`, nil}, false},
		"woocommerce, twice in a second":       {"woocommerce", request{`{"id":1}`, map[string]string{"X-WC-Webhook-Delivery-ID": "a"}}, request{`{"id":2}`, map[string]string{"X-WC-Webhook-Delivery-ID": "a"}}, false},
		"supabase has no name for an event":    {"supabase-auth", request{`{}`, map[string]string{"webhook-id": "a"}}, request{`{}`, map[string]string{"webhook-id": "b"}}, false},
		"google, one channel":                  {"google-push", request{``, map[string]string{"X-Goog-Channel-ID": "c", "X-Goog-Message-Number": "1"}}, request{``, map[string]string{"X-Goog-Channel-ID": "c", "X-Goog-Message-Number": "3"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := Lookup(test.receiver)
			s := newSource(t, SourceConfig{Receiver: test.receiver, Secrets: []Secret{secretFor(t, f)}})
			var ids []string
			for _, q := range []request{test.first, test.second} {
				body, contentType := []byte(q.body), "application/json"
				if len(body) == 0 {
					contentType = ""
				}
				got, err := s.Receive(signed(t, s, contentType, body, q.header), body, now)
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, got.Event.ID)
			}
			if (ids[0] == ids[1]) != test.same {
				t.Errorf("ids %v, the same: want %v", ids, test.same)
			}
		})
	}
}

// Of a batch Segment signs the first event only: the rest could be anybody's.
func TestSegmentBatchIsRefused(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "segment", Secrets: []Secret{text("shared")}})
	first := []byte(`{"messageId":"m"}`)
	r := signed(t, s, "application/json", first, nil)
	if _, err := s.Receive(r, []byte(`[{"messageId":"m"},{"messageId":"n"}]`), now); reasonOf(err) != SignatureWrong {
		t.Errorf("error %v", err)
	}
}

// Twilio writes a port into the URL that it signs, or leaves it out.
func TestTwilioPorts(t *testing.T) {
	for name, test := range map[string]struct {
		signed, called string
		want           Reason
	}{
		"as it is":                       {"https://example.com/x?a=1", "https://example.com/x?a=1", ""},
		"signed with the port of HTTPS":  {"https://example.com:443/x?a=1", "https://example.com/x?a=1", ""},
		"signed without the port":        {"https://example.com/x?a=1", "https://example.com:8443/x?a=1", ""},
		"called with the port of HTTPS":  {"https://example.com/x?a=1", "https://example.com:443/x?a=1", ""},
		"an address of version 6":        {"https://[::1]:443/x", "https://[::1]/x", ""},
		"signed with another port":       {"https://example.com:8443/x?a=1", "https://example.com/x?a=1", SignatureWrong},
		"signed with the port of HTTP":   {"https://example.com:80/x?a=1", "https://example.com/x?a=1", SignatureWrong},
		"another host":                   {"https://example.org:443/x?a=1", "https://example.com/x?a=1", SignatureWrong},
		"HTTP, signed with its own port": {"http://example.com:80/x?a=1", "http://example.com/x?a=1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource(t, SourceConfig{Receiver: "twilio", Secrets: []Secret{text("12345")}})
			form := []byte("From=%2B1&To=2")
			request := func(url string) *http.Request {
				r := httptest.NewRequest(http.MethodPost, url, nil)
				r.Header.Set("Content-Type", formEncoded)
				return r
			}
			sender, r := request(test.signed), request(test.called)
			if _, err := s.Sign(sender, form, now); err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Twilio-Signature", sender.Header.Get("X-Twilio-Signature"))
			if _, err := s.Receive(r, form, now); reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// What a provider asks for in an answer to a bad signature.
func TestRefusedAsTheProviderAsks(t *testing.T) {
	for receiver, want := range map[string]int{"gocardless": 498, "xero": 401, "discord-interactions": 401, "shopify": 401, "postmark": 401} {
		f, _ := Lookup(receiver)
		s := newSource(t, SourceConfig{Receiver: receiver, Secrets: []Secret{secretFor(t, f)}})
		_, err := s.Receive(newRequest("application/json", someBody), someBody, now)
		refusal, ok := errors.AsType[*Refusal](err)
		if !ok {
			t.Fatal(receiver, err)
		}
		status := refusal.Status
		if refusal.Answer != nil {
			status = refusal.Answer.Status
		}
		if status != want {
			t.Errorf("%s: status %d, want %d", receiver, status, want)
		}
	}
}
