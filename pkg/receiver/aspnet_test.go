package receiver

import (
	"net/http/httptest"
	"testing"
)

// Every receiver of ASP.NET WebHooks, classic and Core, under its name there: what
// its senders send is accepted, named, answered, and refused without the secret.
func TestReceiversOfASPNET(t *testing.T) {
	const secret = "a secret of 32 characters, = too"
	code := map[string]string{"scheme": "code"}
	sha1 := map[string]string{"scheme": "sha1"}
	type header = map[string]string
	const js, form = "application/json; charset=utf-8", "application/x-www-form-urlencoded"
	for name, test := range map[string]struct {
		name, slug     string
		params, header map[string]string
		contentType    string
		body           string
		want           string // the event's type; empty: answered, not stored
	}{
		"azurealert":                {name: "azurealert", slug: "azure-monitor", contentType: js, body: `{"status":"Activated","context":{"name":"cpu"}}`, want: "cpu"},
		"AzureContainerRegistry":    {name: "AzureContainerRegistry", slug: "azure-container-registry", contentType: js, body: `{"id":"1","action":"push"}`, want: "push"},
		"bitbucket":                 {name: "bitbucket", slug: "bitbucket", header: header{"X-Event-Key": "repo:push"}, contentType: js, body: `{}`, want: "repo:push"},
		"bitbucket with a code":     {name: "bitbucket", slug: "bitbucket", params: code, header: header{"X-Event-Key": "repo:push"}, contentType: js, body: `{}`, want: "repo:push"},
		"custom":                    {name: "custom", slug: "aspnet", contentType: js, body: `{"Id":"1","Attempt":1,"Notifications":[{"Action":"a"}]}`, want: "a"},
		"custom, two actions":       {name: "custom", slug: "aspnet", contentType: js, body: `{"Id":"1","Notifications":[{"Action":"a"},{},{"Action":"b"}]}`, want: "batch"},
		"dropbox":                   {name: "dropbox", slug: "dropbox", contentType: js, body: `{"list_folder":{"accounts":["1"]}}`, want: "dropbox"},
		"dynamicscrm":               {name: "dynamicscrm", slug: "dynamics-crm", contentType: js, body: `{"MessageName":"Create"}`, want: "Create"},
		"dynamicscrm, no name":      {name: "dynamicscrm", slug: "dynamics-crm", contentType: js, body: `{}`, want: "dynamics-crm"},
		"genericjson":               {name: "genericjson", slug: "generic-json", contentType: js, body: `[1]`, want: "change"},
		"genericjson, a scalar":     {name: "genericjson", slug: "generic-json", contentType: "text/json", body: `"x"`, want: "change"},
		"github":                    {name: "github", slug: "github", header: header{"X-GitHub-Event": "push"}, contentType: js, body: `{}`, want: "push"},
		"github by SHA-1":           {name: "github", slug: "github", params: sha1, header: header{"X-GitHub-Event": "push"}, contentType: js, body: `{}`, want: "push"},
		"github, a form":            {name: "github", slug: "github", header: header{"X-GitHub-Event": "push"}, contentType: form, body: `payload=%7B%7D`, want: "push"},
		"github, a ping":            {name: "github", slug: "github", header: header{"X-GitHub-Event": "ping"}, contentType: js, body: `{}`},
		"instagram":                 {name: "instagram", slug: "meta", contentType: js, body: `{"object":"instagram","entry":[]}`, want: "instagram"},
		"instagram of old":          {name: "instagram", slug: "meta", params: sha1, contentType: js, body: `[{"object":"user","object_id":"1"},{"object":"user","object_id":"2"}]`, want: "user"},
		"kudu":                      {name: "kudu", slug: "kudu", contentType: js, body: `{"id":"1","status":"success"}`, want: "success"},
		"mailchimp":                 {name: "mailchimp", slug: "mailchimp", contentType: form, body: `type=subscribe`, want: "subscribe"},
		"myget":                     {name: "myget", slug: "myget", contentType: "application/vnd.myget.webhooks.v1+json", body: `{"Identifier":"1","PayloadType":"PackageAddedWebHookEventPayloadV1"}`, want: "PackageAddedWebHookEventPayloadV1"},
		"myget, a ping":             {name: "myget", slug: "myget", contentType: js, body: `{"PayloadType":"PingWebHookEventPayloadV1"}`},
		"pusher":                    {name: "pusher", slug: "pusher", contentType: js, body: `{"time_ms":1795341600000,"events":[{"name":"a"},{"name":"a"}]}`, want: "a"},
		"slack":                     {name: "slack", slug: "slack", contentType: form, body: `command=%2Fdeploy&text=now`, want: "command./deploy"},
		"stripe":                    {name: "stripe", slug: "stripe", contentType: js, body: `{"id":"evt_1","type":"plan.created"}`, want: "plan.created"},
		"stripe, a test event":      {name: "stripe", slug: "stripe", contentType: js, body: `{"id":"evt_00000000000000","type":"plan.created"}`},
		"stripe, test events asked": {name: "stripe", slug: "stripe", params: header{"test_events": "stored"}, contentType: js, body: `{"id":"evt_00000000000000","type":"plan.created"}`, want: "plan.created"},
		"trello":                    {name: "trello", slug: "trello", contentType: js, body: `{"action":{"id":"1","type":"voteOnCard"}}`, want: "voteOnCard"},
		"vsts":                      {name: "vsts", slug: "azure-devops", contentType: js, body: `{"id":"1","eventType":"build.complete"}`, want: "build.complete"},
		"vsts with a code":          {name: "vsts", slug: "azure-devops", params: code, contentType: js, body: `{"id":"1","eventType":"release.created"}`, want: "release.created"},
		"wordpress":                 {name: "wordpress", slug: "wordpress", contentType: form, body: `hook=publish_post&ID=1`, want: "publish_post"},
		"zendesk":                   {name: "zendesk", slug: "zendesk", contentType: js, body: `{"type":"zen:event-type:ticket.created"}`, want: "zen:event-type:ticket.created"},
		"zendesk with a code":       {name: "zendesk", slug: "zendesk", params: code, contentType: js, body: `{"devices":[]}`, want: "zendesk"},
	} {
		t.Run(name, func(t *testing.T) {
			r, ok := Lookup(test.name)
			if !ok || r.Slug != test.slug {
				t.Fatalf("%s is %v", test.name, r)
			}
			s := newSource(t, SourceConfig{Receiver: test.name, Params: test.params, Secrets: []Secret{text(secret)}})
			q := signed(t, s, test.contentType, []byte(test.body), test.header)
			if !s.AcceptsType(test.contentType) {
				t.Error("its type is not taken")
			}
			got, err := s.Receive(q, []byte(test.body), now)
			switch {
			case err != nil:
				t.Fatal(err)
			case test.want == "" && got.Event != nil, test.want != "" && got.Event == nil:
				t.Errorf("event %+v", got.Event)
			case got.Event != nil && got.Event.Type != test.slug+"."+test.want && got.Event.Type != test.want:
				t.Errorf("type %s, want %s", got.Event.Type, test.want)
			}
			s.secrets = []Secret{text(secret + "!")}
			if _, err := s.Receive(q, []byte(test.body), now); reasonOf(err) != SignatureWrong {
				t.Errorf("with another secret: %v", err)
			}
		})
	}
}

// What the receivers of ASP.NET WebHooks prove by the body, and what they answer
// without a signature.
func TestHandshakesOfASPNET(t *testing.T) {
	const org = "00D000000000062"
	soap := func(org string) string {
		return `<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">` +
			`<OrganizationId>` + org + `</OrganizationId><ActionId>04k</ActionId><Notification><Id>1</Id></Notification></notifications></e:Body></e:Envelope>`
	}
	const xml, form = "text/xml; charset=utf-8", "application/x-www-form-urlencoded"
	token := map[string]string{"scheme": "token"}
	for name, test := range map[string]struct {
		name, secret, method, query, contentType, body string
		params                                         map[string]string
		event, answer                                  string
		status                                         int // of the answer, or the refusal
	}{
		"sfsoap":                      {name: "sfsoap", secret: org, contentType: xml, body: soap(org + "EAA"), event: "salesforce-outbound.04k", status: 200},
		"salesforce":                  {name: "salesforce", secret: org + "EAA", contentType: xml, body: soap(org), event: "salesforce-outbound.04k", status: 200},
		"SalesforceSoap, another":     {name: "SalesforceSoap", secret: org, contentType: xml, body: soap("00D000000000063EAA"), status: 400},
		"sfsoap, two organisations":   {name: "sfsoap", secret: org, contentType: xml, body: soap(org + "</OrganizationId><OrganizationId>00D000000000063"), status: 400},
		"slack by a token":            {name: "slack", secret: "tok", params: token, contentType: form, body: "token=tok&trigger_word=hey&text=hey+you", event: "slack.trigger.hey", status: 200},
		"slack by another token":      {name: "slack", secret: "tok", params: token, contentType: form, body: "token=tik&trigger_word=hey", status: 401},
		"slack without its signature": {name: "slack", secret: "tok", contentType: form, body: "token=tok&trigger_word=hey", status: 401},
		"custom, the echo":            {name: "custom", secret: "x", method: "GET", query: "echo=abc", answer: "abc", status: 200},
		"custom, no echo":             {name: "custom", secret: "x", method: "GET", status: 403},
		"dropbox, the challenge":      {name: "dropbox", secret: "x", method: "GET", query: "challenge=abc", answer: "abc", status: 200},
		"instagram, the challenge":    {name: "instagram", secret: "x", params: map[string]string{"verify_token": "v"}, method: "GET", query: "hub.mode=subscribe&hub.challenge=1&hub.verify_token=v", answer: "1", status: 200},
		"instagram, no verify token":  {name: "instagram", secret: "x", params: map[string]string{"verify_token": "v"}, method: "GET", query: "hub.mode=subscribe&hub.challenge=1", status: 403},
		"mailchimp, the check":        {name: "mailchimp", secret: "x", method: "GET", query: "code=x", status: 200},
		"mailchimp, another code":     {name: "mailchimp", secret: "x", method: "GET", query: "code=y", status: 401},
		"trello, HEAD":                {name: "trello", secret: "x", method: "HEAD", status: 200},
		"trello, GET":                 {name: "trello", secret: "x", method: "GET", status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource(t, SourceConfig{Receiver: test.name, Params: test.params, Secrets: []Secret{text(test.secret)}})
			if test.method == "" {
				test.method = "POST"
			}
			r := httptest.NewRequest(test.method, "https://hooks.example.com/webhooks/x?"+test.query, nil)
			r.Header.Set("Content-Type", test.contentType)
			got, err := s.Receive(r, []byte(test.body), now)
			if err != nil {
				if refusal := refusalOf(err); refusal == nil || refusal.Status != test.status {
					t.Fatalf("error %v, want the status %d", err, test.status)
				}
				return
			}
			event := ""
			if got.Event != nil {
				event = got.Event.Type
			}
			if got.Answer.Status != test.status || event != test.event || test.answer != "" && string(got.Answer.Body) != test.answer {
				t.Errorf("event %q, answer %d %q", event, got.Answer.Status, got.Answer.Body)
			}
			if test.method == "GET" && !s.AcceptsType("") {
				t.Error("a GET needs a content type")
			}
		})
	}
}

// The ack and the fault are what Salesforce reads, and a fault tells nothing.
func TestSalesforceAnswers(t *testing.T) {
	var got []vectorAnswer
	for _, secret := range []Secret{text("00D000000000062"), text("00D000000000063")} {
		s := newSource(t, SourceConfig{Receiver: "salesforce", Secrets: []Secret{secret}})
		body := `<e:Envelope xmlns:e="x"><e:Body><notifications><OrganizationId>00D000000000062EAA</OrganizationId></notifications></e:Body></e:Envelope>`
		received, err := s.Receive(newRequest("text/xml", nil), []byte(body), now)
		a := received.Answer
		if err != nil {
			a = *refusalOf(err).Answer
		}
		found, err := readXML(a.Body, newXMLTree([]string{"Envelope.Body.notificationsResponse.Ack", "Envelope.Body.Fault.faultcode"}))
		if err != nil || a.ContentType != "text/xml; charset=utf-8" {
			t.Fatalf("%v: %s %s", err, a.ContentType, a.Body)
		}
		got = append(got, vectorAnswer{found["Envelope.Body.notificationsResponse.Ack"], found["Envelope.Body.Fault.faultcode"]})
	}
	if len(got[0].ack) != 1 || got[0].ack[0] != "true" || len(got[0].fault) != 0 || len(got[1].ack) != 0 || len(got[1].fault) != 1 || got[1].fault[0] != "soapenv:Client" {
		t.Errorf("ack and fault %+v", got)
	}
}

type vectorAnswer struct{ ack, fault []string }
