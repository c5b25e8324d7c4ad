package receiver

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHandshakes(t *testing.T) {
	sum := func(message string) []byte {
		mac := hmac.New(sha256.New, []byte("user:password"))
		mac.Write([]byte(message))
		return mac.Sum(nil)
	}
	meta := map[string]string{"verify_token": "ours"}
	long := strings.Repeat("x", maxFill+1)
	for name, test := range map[string]struct {
		receiver, method, query, body, contentType string
		params                                     map[string]string
		want                                       string // the answer's body
		status                                     int
		reason                                     Reason
	}{
		"meta":                   {receiver: "meta", method: "GET", query: "hub.mode=subscribe&hub.challenge=12&hub.verify_token=ours", params: meta, want: "12", status: 200},
		"meta, another token":    {receiver: "meta", method: "GET", query: "hub.mode=subscribe&hub.challenge=12&hub.verify_token=theirs", params: meta, reason: HandshakeWrong},
		"meta, no token":         {receiver: "meta", method: "GET", query: "hub.mode=subscribe&hub.challenge=12", params: meta, reason: HandshakeWrong},
		"meta, none configured":  {receiver: "meta", method: "GET", query: "hub.mode=subscribe&hub.challenge=12&hub.verify_token=", reason: HandshakeWrong},
		"meta, the wildcard":     {receiver: "meta", method: "GET", query: "hub.mode=subscribe&hub.challenge=12&hub.verify_token=x", params: map[string]string{"verify_token": "*"}, reason: HandshakeWrong},
		"meta, no challenge":     {receiver: "meta", method: "GET", query: "hub.mode=subscribe&hub.verify_token=ours", params: meta, reason: HandshakeWrong},
		"dropbox":                {receiver: "dropbox", method: "GET", query: "challenge=%3Cb%3E", want: "<b>", status: 200},
		"dropbox, endless":       {receiver: "dropbox", method: "GET", query: "challenge=" + long, reason: HandshakeWrong},
		"trello":                 {receiver: "trello", method: "HEAD", status: 200},
		"x":                      {receiver: "x", method: "GET", query: "crc_token=abc", want: `{"response_token":"sha256=` + base64.StdEncoding.EncodeToString(sum("abc")) + `"}`, status: 200},
		"x, asked to sign JSON":  {receiver: "x", method: "GET", query: "crc_token=%7B%22for_user_id%22%3A1%7D", reason: HandshakeWrong},
		"x, asked to sign much":  {receiver: "x", method: "GET", query: "crc_token=" + strings.Repeat("1", maxProven+1), reason: HandshakeWrong},
		"woocommerce":            {receiver: "woocommerce", body: "webhook_id=7", contentType: "application/x-www-form-urlencoded", status: 200},
		"woocommerce, an event":  {receiver: "woocommerce", body: `{"webhook_id":7}`, contentType: "application/json", reason: SignatureMissing},
		"slack's probe":          {receiver: "slack-interactive", body: "ssl_check=1&payload=%7B%7D", contentType: "application/x-www-form-urlencoded", status: 200},
		"bitbucket, not a ping":  {receiver: "bitbucket-server", body: `{"test":true}`, contentType: "application/json", reason: SignatureMissing},
		"slack must be signed":   {receiver: "slack", body: `{"type":"url_verification","challenge":"c"}`, contentType: "application/json", reason: SignatureMissing},
		"zoom must be signed":    {receiver: "zoom", body: `{"event":"endpoint.url_validation","payload":{"plainToken":"p"}}`, contentType: "application/json", reason: SignatureMissing},
		"discord must be signed": {receiver: "discord-interactions", body: `{"type":1}`, contentType: "application/json", reason: SignatureMissing},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := Lookup(test.receiver)
			s := newSource(t, SourceConfig{Receiver: test.receiver, Params: test.params, Secrets: []Secret{secretFor(t, r)}})
			if test.method == "" {
				test.method = http.MethodPost
			}
			q := httptest.NewRequest(test.method, "https://hooks.example.com/webhooks/x?"+test.query, nil)
			q.Header.Set("Content-Type", test.contentType)
			got, err := s.Receive(q, []byte(test.body), now)
			if reasonOf(err) != test.reason {
				t.Fatalf("error %v, want %q", err, test.reason)
			}
			if got.Event != nil || string(got.Answer.Body) != test.want || got.Answer.Status != test.status {
				t.Errorf("event %v, answer %d %q, want %d %q", got.Event, got.Answer.Status, got.Answer.Body, test.status, test.want)
			}
		})
	}
}

// Asana sends the secret, and wants to see it again. Whoever creates a webhook is
// told it too.
func TestAsanaHandshake(t *testing.T) {
	const secret = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81" // of https://developers.asana.com/reference/createwebhook
	s := newSource(t, SourceConfig{Receiver: "asana", Secrets: []Secret{text("none yet")}})
	r := httptest.NewRequest(http.MethodPost, "/webhooks/asana", nil)
	r.Header.Set("X-Hook-Secret", secret)
	got, err := s.Receive(r, nil, now)
	if err != nil || got.Event != nil || got.Answer.Status != 200 || got.Answer.Header.Get("X-Hook-Secret") != secret {
		t.Fatalf("%+v, %v", got, err)
	}
	if got.Tell != "" {
		t.Errorf("told %q", got.Tell)
	}
	r.Header.Set("X-Hook-Signature", strings.Repeat("0", 64))
	if got, err := s.Receive(r, []byte(`{"events":[]}`), now); reasonOf(err) != SignatureWrong || got.Answer.Header != nil {
		t.Errorf("a request with a signature is a handshake: %+v, %v", got, err)
	}
}

// Notion's token comes in a request that is signed with it. The operator must
// see it, and only for as long as he wants to.
func TestNotionHandshake(t *testing.T) {
	const token = "secret_abc123_verification_token" // of makenotion/notion-sdk-js test/webhooks.test.ts
	body := []byte(`{"verification_token":"` + token + `"}`)
	source := func(secret text, params map[string]string) *Source {
		return newSource(t, SourceConfig{Receiver: "notion", Secrets: []Secret{secret}, Params: params})
	}
	genuine := signed(t, source(token, nil), "application/json", body, nil)
	open := map[string]string{"setup": "open"}
	for name, test := range map[string]struct {
		source *Source
		body   string
		told   bool
		want   Reason
	}{
		"while it is set up":      {source("none yet", open), string(body), true, ""},
		"an event meanwhile":      {source("none yet", open), `{"type":"page.created"}`, false, SignatureWrong},
		"not set up":              {source("none yet", nil), string(body), false, SignatureWrong},
		"set up, and sent again":  {source(token, nil), string(body), false, ""},
		"no token":                {source("none yet", open), `{"verification_token":""}`, false, SignatureWrong},
		"a token of several rows": {source("none yet", open), `{"verification_token":"a\nlevel=ERROR"}`, false, ""},
		"a token without an end":  {source("none yet", open), `{"verification_token":"` + strings.Repeat("x", 1000) + `"}`, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.source.Receive(genuine, []byte(test.body), now)
			if reasonOf(err) != test.want || got.Event != nil {
				t.Fatalf("event %v, error %v, want %q", got.Event, err, test.want)
			}
			if strings.Contains(got.Tell, token) != test.told || !test.told && got.Tell != "" {
				t.Errorf("told %q", got.Tell)
			}
		})
	}
}

func TestSignedHandshakes(t *testing.T) {
	plain := `{"event":"endpoint.url_validation","payload":{"plainToken":"p"}}`
	mac := hmac.New(sha256.New, []byte("user:password"))
	mac.Write([]byte("p"))
	for name, test := range map[string]struct {
		receiver, body string
		header         map[string]string
		want           string
		status         int
	}{
		"slack":                {"slack", `{"type":"url_verification","challenge":"c&c"}`, nil, "c&c", 200},
		"zoom":                 {"zoom", plain, nil, `{"plainToken":"p","encryptedToken":"` + hex.EncodeToString(mac.Sum(nil)) + `"}`, 200},
		"discord interactions": {"discord-interactions", `{"type":1}`, nil, `{"type":1}`, 200},
		"discord events":       {"discord-events", `{"type":0}`, nil, "", 204},
		"twitch":               {"twitch", `{"challenge":"c"}`, map[string]string{"Twitch-Eventsub-Message-Type": "webhook_callback_verification", "Twitch-Eventsub-Message-Id": "1"}, "c", 200},
		"google":               {"google-push", ``, map[string]string{"X-Goog-Resource-State": "sync"}, "", 200},
		"dropbox sign":         {"bitbucket-server", `{}`, map[string]string{"X-Event-Key": "diagnostics:ping"}, "", 200},
		"intercom":             {"intercom", `{"topic":"ping"}`, nil, "", 200},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := Lookup(test.receiver)
			s := newSource(t, SourceConfig{Receiver: test.receiver, Secrets: []Secret{secretFor(t, f)}})
			r := signed(t, s, "application/json", []byte(test.body), test.header)
			got, err := s.Receive(r, []byte(test.body), now)
			if err != nil {
				t.Fatal(err)
			}
			if got.Event != nil || string(got.Answer.Body) != test.want || got.Answer.Status != test.status {
				t.Errorf("event %v, answer %d %q, want %d %q", got.Event, got.Answer.Status, got.Answer.Body, test.status, test.want)
			}
		})
	}
}

// A value cannot leave the string of the JSON answer that it is put into.
func TestAnswerIsEscaped(t *testing.T) {
	r := &Receiver{Form: Form{Slug: "x"}}
	c, err := newCompiler(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.answer("answer", AnswerForm{ContentType: "application/json", Body: `{"a":"{query:a}"}`})
	if err != nil {
		t.Fatal(err)
	}
	s := &Source{}
	q := s.request(httptest.NewRequest("GET", `/?a=%22%7D%5C`, nil), nil)
	got, ok, err := s.fill(a, q)
	if err != nil || !ok || string(got.Body) != `{"a":"\"}\\"}` {
		t.Errorf("answered %s, %v, %v", got.Body, ok, err)
	}
}

func TestMiddlewareAnswersHandshakes(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "dropbox"})
	w := httptest.NewRecorder()
	Middleware(s, http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/?challenge=c", nil))
	if w.Code != 200 || w.Body.String() != "c" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("answered %d %q %v", w.Code, w.Body, w.Header())
	}
}

func TestMethodsOfHandshakes(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "meta"})
	if got := strings.Join(s.Methods(), " "); got != "POST GET" {
		t.Errorf("methods %s", got)
	}
	if !s.AcceptsType("") || s.AcceptsType("text/html") {
		t.Error("a handshake has no content type, and an event has one")
	}
}
