package receiver

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // what SNS signs with unless told otherwise
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/internal/testprovider"
)

func TestStripeCallback(t *testing.T) {
	p := testprovider.New(t)
	const event = `{"id":"evt_1","object":"event","type":"charge.succeeded","data":{"object":{"id":"ch_1","customer":"cus_1"}}}`
	status := http.StatusOK
	p.Handle("api.stripe.com/v1/events/evt_1", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "rk_test_1" || password != "" {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		if account := r.Header.Get("Stripe-Account"); account != "" && account != "acct_1" {
			http.Error(w, "not yours", http.StatusForbidden)
			return
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, event)
	})
	source := func(key string) *Source {
		return newSource(t, SourceConfig{Receiver: "stripe-callback", Secrets: []Secret{text(key)}, Fetcher: newFetcher(t, p), Params: map[string]string{"account": "{json:account}"}})
	}
	for name, test := range map[string]struct {
		body, key string
		status    int
		down      bool
		want      Reason
	}{
		"genuine":                   {`{"id":"evt_1","type":"made.up","data":{"object":{"amount":1}}}`, "rk_test_1", 200, false, ""},
		"of a connected account":    {`{"id":"evt_1","account":"acct_1"}`, "rk_test_1", 200, false, ""},
		"no such event":             {`{"id":"evt_2"}`, "rk_test_1", 200, false, SignatureWrong},
		"an id that climbs":         {`{"id":"../charges"}`, "rk_test_1", 200, false, SignedMissing},
		"an id with a query":        {`{"id":"evt_1?expand=x"}`, "rk_test_1", 200, false, SignedMissing},
		"an account with a newline": {`{"id":"evt_1","account":"a\r\nX: y"}`, "rk_test_1", 200, false, SignedMissing},
		"no id":                     {`{}`, "rk_test_1", 200, false, SignedMissing},
		"another secret":            {`{"id":"evt_1"}`, "rk_test_2", 200, false, SecretUnavailable},
		"Stripe has too much to do": {`{"id":"evt_1"}`, "rk_test_1", 429, false, ProviderUnavailable},
		"Stripe fails":              {`{"id":"evt_1"}`, "rk_test_1", 500, false, ProviderUnavailable},
		"Stripe is away":            {`{"id":"evt_1"}`, "rk_test_1", 200, true, ProviderUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			status = test.status
			p.SetDown(test.down)
			defer p.SetDown(false)
			got, err := source(test.key).Receive(newRequest("application/json", nil), []byte(test.body), now)
			if reasonOf(err) != test.want {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			if err != nil {
				if strings.Contains(err.Error(), test.key) {
					t.Errorf("the error tells the secret: %v", err)
				}
				return
			}
			if e := got.Event; string(e.Body) != event || e.Type != "stripe-callback.charge.succeeded" || e.Key != "cus_1" || e.ID != "evt_1" {
				t.Errorf("event %+v with %s", e, e.Body)
			}
		})
	}
	t.Run("the dashboard's test event", func(t *testing.T) {
		p.Asked()
		got, err := source("rk_test_1").Receive(newRequest("application/json", nil), []byte(`{"id":"evt_00000000000000"}`), now)
		if err != nil || got.Event != nil || got.Answer.Status != http.StatusOK || len(p.Asked()) != 0 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestPayPalIPN(t *testing.T) {
	p := testprovider.New(t)
	const message = "payment_status=Completed&receiver_email=me%40example.com&first_name=J%F6rg&ipn_track_id=t1&txn_type=web_accept&charset=windows-1252"
	for _, host := range []string{"ipnpb.paypal.com", "ipnpb.sandbox.paypal.com"} {
		p.Handle(host+"/cgi-bin/webscr", func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if string(body) != "cmd=_notify-validate&"+message || r.Header.Get("Content-Type") != formEncoded || r.UserAgent() == "" {
				_, _ = io.WriteString(w, "INVALID")
				return
			}
			_, _ = io.WriteString(w, "VERIFIED")
		})
	}
	for name, test := range map[string]struct {
		email, environment, body string
		want                     Reason
		host                     string
	}{
		"genuine":         {"me@example.com", "live", message, "", "ipnpb.paypal.com"},
		"of the sandbox":  {"me@example.com", "sandbox", message, "", "ipnpb.sandbox.paypal.com"},
		"changed":         {"me@example.com", "live", message + "&mc_gross=1000", SignatureWrong, "ipnpb.paypal.com"},
		"for another":     {"you@example.com", "live", message, SignatureWrong, ""},
		"for two":         {"me@example.com", "live", "receiver_email=you%40example.com&" + message, SignatureWrong, ""},
		"with a command":  {"me@example.com", "live", "cmd=_notify-validate&" + message, SignatureWrong, "ipnpb.paypal.com"},
		"nothing at all":  {"me@example.com", "live", "", SignatureWrong, ""},
		"not even a form": {"me@example.com", "live", "%zz", SignatureWrong, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p.Asked()
			s := newSource(t, SourceConfig{
				Receiver: "paypal-ipn", Secrets: []Secret{}, Fetcher: newFetcher(t, p),
				Params: map[string]string{"receiver_email": test.email, "environment": test.environment},
			})
			got, err := s.Receive(newRequest(formEncoded, nil), []byte(test.body), now)
			if reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if err == nil && (got.Event.ID != "t1" || string(got.Event.Body) != message) {
				t.Errorf("event %+v", got.Event)
			}
			if asked := p.Asked(); len(asked) > 1 || test.host == "" && len(asked) > 0 || test.host != "" && !strings.Contains(strings.Join(asked, " "), test.host) {
				t.Errorf("asked %q, want %s", asked, test.host)
			}
		})
	}
}

// topic is a topic of SNS whose certificate is at the provider of the test.
type topic struct {
	key  *rsa.PrivateKey
	cert string // its URL
}

func newTopic(tb testing.TB, p *testprovider.Provider) topic {
	tb.Helper()
	key := rsaKey().(*rsa.PrivateKey)
	der, err := p.Certify("sns.amazonaws.com", key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	p.Handle("sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem", func(w http.ResponseWriter, r *http.Request) {
		_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	})
	return topic{key, "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem"}
}

// message is a signed message; what of it is empty is not there.
func (k topic) message(tb testing.TB, version string, m map[string]string) map[string]string {
	tb.Helper()
	var b strings.Builder
	for _, name := range []string{"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"} {
		if m[name] != "" {
			b.WriteString(name + "\n" + m[name] + "\n")
		}
	}
	hash, sum := crypto.SHA256, sha256.Sum256([]byte(b.String()))
	digest := sum[:]
	if version == "1" {
		old := sha1.Sum([]byte(b.String())) //nolint:gosec // see above
		hash, digest = crypto.SHA1, old[:]
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.key, hash, digest)
	if err != nil {
		tb.Fatal(err)
	}
	all := map[string]string{"SignatureVersion": version, "Signature": base64.StdEncoding.EncodeToString(signature), "SigningCertURL": k.cert}
	for name, value := range m {
		all[name] = value
	}
	return all
}

func notification() map[string]string {
	return map[string]string{
		"Type": "Notification", "MessageId": "m1", "TopicArn": "arn:aws:sns:us-east-1:1:a", "Message": "two\nlines", "Timestamp": "2026-11-22T10:00:00.000Z",
	}
}

func changedBy(m, change map[string]string) map[string]string {
	all := map[string]string{}
	for name, value := range m {
		all[name] = value
	}
	for name, value := range change {
		if all[name] = value; value == "" {
			delete(all, name)
		}
	}
	return all
}

func TestSNS(t *testing.T) {
	p := testprovider.New(t)
	k := newTopic(t, p)
	fetcher := newFetcher(t, p)
	source := func(params map[string]string) *Source {
		return newSource(t, SourceConfig{Receiver: "aws-sns", Secrets: []Secret{}, Fetcher: fetcher, Params: changedBy(map[string]string{
			"topic": "arn:aws:sns:us-east-1:1:b, arn:aws:sns:us-east-1:1:a",
		}, params)})
	}
	plain := k.message(t, "2", notification())
	subject := k.message(t, "2", changedBy(notification(), map[string]string{"Subject": "s"}))
	forged := strings.Replace(k.cert, "sns.us-east-1.amazonaws.com", "sns.evil.example.com", 1)
	for name, test := range map[string]struct {
		message map[string]string
		params  map[string]string
		want    Reason
	}{
		"genuine":                         {plain, nil, ""},
		"version 1":                       {k.message(t, "1", notification()), nil, ""},
		"version 1, which is off":         {k.message(t, "1", notification()), map[string]string{"sha1": "off"}, SignatureWrong},
		"version 2 said to be 1":          {changedBy(plain, map[string]string{"SignatureVersion": "1"}), nil, SignatureWrong},
		"version 3":                       {changedBy(plain, map[string]string{"SignatureVersion": "3"}), nil, SignatureWrong},
		"with a subject":                  {subject, nil, ""},
		"a subject is added":              {changedBy(plain, map[string]string{"Subject": "s"}), nil, SignatureWrong},
		"a subject of lines is added":     {changedBy(plain, map[string]string{"Subject": "s\nTimestamp"}), nil, SignedMissing},
		"the subject is taken away":       {changedBy(subject, map[string]string{"Subject": ""}), nil, SignatureWrong},
		"a token is added":                {changedBy(plain, map[string]string{"Token": "t"}), nil, SignatureWrong},
		"a URL is added":                  {changedBy(plain, map[string]string{"SubscribeURL": "https://sns.us-east-1.amazonaws.com/?x=1"}), nil, SignatureWrong},
		"another message":                 {changedBy(plain, map[string]string{"Message": "x"}), nil, SignatureWrong},
		"another id":                      {changedBy(plain, map[string]string{"MessageId": "m2"}), nil, SignatureWrong},
		"the message taken for the id":    {changedBy(plain, map[string]string{"Message": "two", "MessageId": "lines\nMessageId\nm1"}), nil, SignedMissing},
		"another time":                    {changedBy(plain, map[string]string{"Timestamp": "2026-11-22T10:00:01.000Z"}), nil, SignatureWrong},
		"an old one":                      {k.message(t, "2", changedBy(notification(), map[string]string{"Timestamp": "2026-11-22T08:00:00.000Z"})), nil, TimestampStale},
		"a confirmation made of it":       {changedBy(plain, map[string]string{"Type": "SubscriptionConfirmation"}), nil, SignatureWrong},
		"of a stranger's topic":           {k.message(t, "2", changedBy(notification(), map[string]string{"TopicArn": "arn:aws:sns:us-east-1:666:a"})), nil, SignatureWrong},
		"a topic of ours is written in":   {changedBy(k.message(t, "2", changedBy(notification(), map[string]string{"TopicArn": "arn:aws:sns:us-east-1:666:a"})), map[string]string{"TopicArn": "arn:aws:sns:us-east-1:1:a"}), nil, SignatureWrong},
		"a certificate from elsewhere":    {changedBy(plain, map[string]string{"SigningCertURL": forged}), nil, SignatureWrong},
		"a certificate in the clear":      {changedBy(plain, map[string]string{"SigningCertURL": strings.Replace(k.cert, "https", "http", 1)}), nil, SignatureWrong},
		"a certificate of another page":   {changedBy(plain, map[string]string{"SigningCertURL": "https://sns.us-east-1.amazonaws.com/?x=.pem"}), nil, SignatureWrong},
		"a certificate that is not there": {changedBy(plain, map[string]string{"SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-2.pem"}), nil, KeysUnavailable},
		"no certificate":                  {changedBy(plain, map[string]string{"SigningCertURL": ""}), nil, SignatureWrong},
		"no signature":                    {changedBy(plain, map[string]string{"Signature": ""}), nil, SignatureMissing},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := json.Marshal(test.message)
			if err != nil {
				t.Fatal(err)
			}
			got, err := source(test.params).Receive(newRequest("text/plain; charset=UTF-8", nil), body, now)
			if reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if err == nil && (got.Event.ID != "m1" || got.Event.Type != "aws-sns.Notification") {
				t.Errorf("event %+v", got.Event)
			}
		})
	}
	for _, asked := range p.Asked() {
		if !strings.HasPrefix(asked, "GET sns.us-east-1.amazonaws.com/SimpleNotificationService-") {
			t.Errorf("asked %s", asked)
		}
	}
}

func TestSNSConfirms(t *testing.T) {
	p := testprovider.New(t)
	k := newTopic(t, p)
	status := http.StatusOK
	p.Handle("sns.us-east-1.amazonaws.com/{$}", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
	fetcher := newFetcher(t, p)
	confirmation := func(change map[string]string) map[string]string {
		return k.message(t, "2", changedBy(notification(), changedBy(map[string]string{
			"Type": "SubscriptionConfirmation", "Token": "t1",
			"SubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-east-1:1:a&Token=t1",
		}, change)))
	}
	for name, test := range map[string]struct {
		message map[string]string
		confirm string
		status  int
		want    Reason
		event   bool
		asks    bool
	}{
		"confirmed":               {confirmation(nil), "on", 200, "", false, true},
		"left to a handler":       {confirmation(nil), "off", 200, "", true, false},
		"SNS fails":               {confirmation(nil), "on", 500, ProviderUnavailable, false, true},
		"it leads elsewhere":      {confirmation(map[string]string{"SubscribeURL": "https://evil.example.com/?x=1"}), "on", 200, Unreadable, false, false},
		"it leads inside":         {confirmation(map[string]string{"SubscribeURL": "https://169.254.169.254/?x=1"}), "on", 200, Unreadable, false, false},
		"it is forged":            {changedBy(confirmation(nil), map[string]string{"Token": "t2"}), "on", 200, SignatureWrong, false, false},
		"the end of subscription": {confirmation(map[string]string{"Type": "UnsubscribeConfirmation"}), "on", 200, "", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			status = test.status
			s := newSource(t, SourceConfig{Receiver: "aws-sns", Secrets: []Secret{}, Fetcher: fetcher, Params: map[string]string{
				"topic": "arn:aws:sns:us-east-1:1:a", "confirm": test.confirm,
			}})
			body, err := json.Marshal(test.message)
			if err != nil {
				t.Fatal(err)
			}
			p.Asked()
			got, err := s.Receive(newRequest("text/plain", nil), body, now)
			if reasonOf(err) != test.want || (got.Event != nil) != test.event {
				t.Errorf("%+v, %v, want %q", got, err, test.want)
			}
			asked := strings.Contains(strings.Join(p.Asked(), " "), "Action=ConfirmSubscription")
			if asked != test.asks {
				t.Errorf("asked: %t", asked)
			}
		})
	}
}

// The certificate must be PayPal's, from PayPal, by an authority that we trust.
func TestPayPalCertificate(t *testing.T) {
	p := testprovider.New(t)
	key := rsaKey().(*rsa.PrivateKey)
	for id, name := range map[string]string{"good": "messageverificationcerts.paypal.com", "other": "www.example.com"} {
		der, err := p.Certify(name, key.Public())
		if err != nil {
			t.Fatal(err)
		}
		p.Handle("api.paypal.com/v1/notifications/certs/"+id, func(w http.ResponseWriter, r *http.Request) {
			_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
		})
	}
	stranger := testprovider.New(t)
	der, err := stranger.Certify("messageverificationcerts.paypal.com", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	p.Handle("api.paypal.com/v1/notifications/certs/self", func(w http.ResponseWriter, r *http.Request) {
		_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	})
	p.Handle("api.paypal.com/v1/notifications/certs/key", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, publicPEM(t, key.Public()))
	})
	private := text(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: mustPKCS8(t, key)}))
	signer := newSource(t, SourceConfig{Receiver: "paypal", Secrets: []Secret{private}, Params: map[string]string{"webhook_id": "w1"}})
	genuine := httptest.NewRequest("POST", "https://hooks.example.com/", nil)
	genuine.Header.Set("PayPal-Transmission-Id", "1")
	genuine.Header.Set("PayPal-Auth-Algo", "SHA256withRSA")
	genuine.Header.Set("Content-Type", "application/json")
	if _, err := signer.Sign(genuine, someBody, now); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		url, webhook, body string
		want               Reason
	}{
		"genuine":                 {"https://api.paypal.com/v1/notifications/certs/good", "w1", string(someBody), ""},
		"another webhook":         {"https://api.paypal.com/v1/notifications/certs/good", "w2", string(someBody), SignatureWrong},
		"another body":            {"https://api.paypal.com/v1/notifications/certs/good", "w1", string(someBody) + " ", SignatureWrong},
		"another name":            {"https://api.paypal.com/v1/notifications/certs/other", "w1", string(someBody), KeysUnavailable},
		"another authority":       {"https://api.paypal.com/v1/notifications/certs/self", "w1", string(someBody), KeysUnavailable},
		"a key, no certificate":   {"https://api.paypal.com/v1/notifications/certs/key", "w1", string(someBody), KeysUnavailable},
		"another host":            {"https://api.paypal.com.evil.example.com/v1/notifications/certs/good", "w1", string(someBody), SignatureWrong},
		"another path":            {"https://api.paypal.com/v1/notifications/certs/../../good", "w1", string(someBody), SignatureWrong},
		"a host that is a number": {"https://127.0.0.1/v1/notifications/certs/good", "w1", string(someBody), SignatureWrong},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource(t, SourceConfig{Receiver: "paypal", Secrets: []Secret{}, Fetcher: newFetcher(t, p), Params: map[string]string{"webhook_id": test.webhook}})
			r := genuine.Clone(t.Context())
			r.Header.Set("PayPal-Cert-Url", test.url)
			if _, err := s.Receive(r, []byte(test.body), now); reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// The example of Atlassian's documentation (Query string hash, Bitbucket).
func TestCanonicalRequest(t *testing.T) {
	for _, test := range []struct{ method, url, base, want string }{
		{"GET", "https://api.bitbucket.org/test?param=value", "/", "GET&/test&param=value"},
		{"post", "https://a.example.com/app/hook/?b=2&a=1&b=1&jwt=x&c=x%20y*~", "/app", "POST&/hook&a=1&b=1,2&c=x%20y%2A~"},
		{"GET", "https://a.example.com/app", "/app/", "GET&/&"},
		{"GET", "https://a.example.com/a&b", "/", "GET&/a%26b&"},
		{"GET", "https://a.example.com/apple", "/app", ""},
	} {
		q := (&Source{}).request(httptest.NewRequest(strings.ToUpper(test.method), test.url, nil), nil)
		if got := q.canonical(test.base); got != test.want {
			t.Errorf("%s %s: %q, want %q", test.method, test.url, got, test.want)
		}
	}
	const documented = "be16910858a41fd19ea5c1b4e9decca9a784d1024cb00b2158defe2f29dc86dd"
	if got := fmt.Sprintf("%x", sha256.Sum256([]byte("GET&/test&param=value"))); got != documented {
		t.Errorf("hash %s", got)
	}
}

// Each notification of a request must have the clientState of a subscription.
func TestMicrosoftGraph(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "ms-graph", Secrets: []Secret{text("state-1"), text("state-2")}})
	for name, test := range map[string]struct {
		query, body, event string
		want               Reason
	}{
		"one":                      {"", `{"value":[{"clientState":"state-1","changeType":"updated"}]}`, "ms-graph.updated", ""},
		"two subscriptions":        {"", `{"value":[{"clientState":"state-1","changeType":"updated"},{"clientState":"state-2","changeType":"deleted"}]}`, "ms-graph.batch", ""},
		"lifecycle":                {"", `{"value":[{"clientState":"state-1","lifecycleEvent":"missed"}]}`, "ms-graph.missed", ""},
		"one is a stranger":        {"", `{"value":[{"clientState":"state-1"},{"clientState":"state-3"}]}`, "", SignatureWrong},
		"one says nothing":         {"", `{"value":[{"clientState":"state-1"},{"changeType":"updated"}]}`, "", SignatureWrong},
		"none":                     {"", `{"value":[]}`, "", SignatureMissing},
		"no list":                  {"", `{"value":{"clientState":"state-1"}}`, "", SignatureMissing},
		"signed, and a validation": {"?validationToken=x", `{"value":[{"clientState":"state-1","changeType":"updated"}]}`, "ms-graph.updated", ""},
		"forged, and a validation": {"?validationToken=%3Cscript%3E", `{"value":[]}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "https://hooks.example.com/x"+test.query, nil)
			r.Header.Set("Content-Type", "application/json")
			got, err := s.Receive(r, []byte(test.body), now)
			if reasonOf(err) != test.want {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			if (got.Event != nil) != (test.event != "") || got.Event != nil && got.Event.Type != test.event {
				t.Errorf("event %+v, want %s", got.Event, test.event)
			}
		})
	}
	r := httptest.NewRequest("POST", "https://hooks.example.com/x?validationToken=Validation%3A+%3Cb%3E", nil)
	r.Header.Set("Content-Type", "text/plain; charset=utf-8")
	got, err := s.Receive(r, nil, now)
	if err != nil || got.Event != nil || string(got.Answer.Body) != "Validation: <b>" || got.Answer.ContentType != "text/plain; charset=utf-8" {
		t.Errorf("the handshake: %+v, %v", got, err)
	}
}
