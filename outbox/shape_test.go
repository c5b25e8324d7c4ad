package outbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/webhook"
)

func TestShapes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	properties := map[string]json.RawMessage{"team": json.RawMessage(`"a"`)}
	for name, c := range map[string]struct {
		shape       BodyShape
		contentType string
		data        string
		want        string
		wantType    string
	}{
		"raw":         {BodyRaw, "text/plain", "x\n", "x\n", "text/plain"},
		"raw of none": {BodyRaw, "", "", "", ""},
		"ASP.NET, an object": {BodyASPNet, "application/json", `{"action":"theirs","n":12345678901234567890}`,
			`{"Id":"msg_1","Attempt":3,"Properties":{"team":"a"},"Notifications":[{"Action":"deploy.done","n":12345678901234567890}]}`, "application/json; charset=utf-8"},
		"ASP.NET, a list": {BodyASPNet, "application/json", `[1]`,
			`{"Id":"msg_1","Attempt":3,"Properties":{"team":"a"},"Notifications":[{"Action":"deploy.done","Data":[1]}]}`, "application/json; charset=utf-8"},
		"ASP.NET, nothing": {BodyASPNet, "", "",
			`{"Id":"msg_1","Attempt":3,"Properties":{"team":"a"},"Notifications":[{"Action":"deploy.done","Data":null}]}`, "application/json; charset=utf-8"},
		"ASP.NET, text": {BodyASPNet, "text/plain", `{}`,
			`{"Id":"msg_1","Attempt":3,"Properties":{"team":"a"},"Notifications":[{"Action":"deploy.done","Data":"{}"}]}`, "application/json; charset=utf-8"},
		"ASP.NET, bytes": {BodyASPNet, "image/png", "\xff",
			`{"Id":"msg_1","Attempt":3,"Properties":{"team":"a"},"Notifications":[{"Action":"deploy.done","DataBase64":"/w=="}]}`, "application/json; charset=utf-8"},
		"CloudEvents": {BodyCloudEvents, "application/vnd.x+json", `{"a":1}`,
			`{"specversion":"1.0","id":"n1","source":"/test","type":"deploy.done","time":"2026-01-02T03:04:05Z","datacontenttype":"application/vnd.x+json","data":{"a":1}}`, "application/cloudevents+json"},
		"CloudEvents, no JSON after all": {BodyCloudEvents, "application/json", `{`,
			`{"specversion":"1.0","id":"n1","source":"/test","type":"deploy.done","time":"2026-01-02T03:04:05Z","datacontenttype":"application/json","data":"{"}`, "application/cloudevents+json"},
		"CloudEvents, bytes": {BodyCloudEvents, "image/png", "\xff",
			`{"specversion":"1.0","id":"n1","source":"/test","type":"deploy.done","time":"2026-01-02T03:04:05Z","datacontenttype":"image/png","data_base64":"/w=="}`, "application/cloudevents+json"},
		"CloudEvents, nothing": {BodyCloudEvents, "", "",
			`{"specversion":"1.0","id":"n1","source":"/test","type":"deploy.done","time":"2026-01-02T03:04:05Z"}`, "application/cloudevents+json"},
	} {
		d := &delivery{id: "msg_1", attempt: 3, event: &event.Event{ID: "n1", Source: "/test", Type: "deploy.done", Time: at, ContentType: c.contentType}}
		contentType, body, err := (&Subscription{Body: c.shape, Properties: properties}).shape(d, []byte(c.data))
		if err != nil || string(body) != c.want || contentType != c.wantType {
			t.Errorf("%s: %v %s\n%s\nwant\n%s", name, err, contentType, body, c.want)
		}
	}
}

// What a subscription says of its requests is done in them.
func TestRequests(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(nil)
	s := newSubscriber(t, nil)
	hexOf := func(secret string, body []byte) string {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		return hex.EncodeToString(mac.Sum(nil))
	}
	for signing, verify := range map[Signing]func(t *testing.T, p post, secret string){
		SigningV1a: func(t *testing.T, p post, secret string) {
			key, err := webhook.ParsePrivateKey(secret)
			if err != nil {
				t.Fatal(err)
			}
			if err := webhook.Verify(p.header, p.body, time.Now(), webhook.Tolerance, key.Public()); err != nil {
				t.Error(err)
			}
		},
		SigningASPNet: func(t *testing.T, p post, secret string) {
			if got, want := p.header.Get("ms-signature"), "sha256="+strings.ToUpper(hexOf(secret, p.body)); got != want {
				t.Errorf("signed %s, want %s", got, want)
			}
		},
		SigningHub: func(t *testing.T, p post, secret string) {
			if got, want := p.header.Get("X-Hub-Signature-256"), "sha256="+hexOf(secret, p.body); got != want {
				t.Errorf("signed %s, want %s", got, want)
			}
		},
	} {
		sub, secret := o.subscribe("key-a", map[string]any{
			"url": s.URL, "filters": []string{string(signing)}, "signing": signing, "body": "aspnet",
			"headers": map[string]string{"Authorization": "Bearer t", "User-Agent": "Theirs"}, "properties": map[string]any{"p": 1},
		})
		o.notify("key-a", string(signing), string(signing), `{"a":1}`)
		p := s.next(t)
		verify(t, p, secret)
		if p.header.Get("Authorization") != "Bearer t" || p.header.Get("User-Agent") != "Theirs" || p.header.Get(webhook.HeaderID) == "" {
			t.Errorf("%s: sent %v", signing, p.header)
		}
		var body struct {
			ID            string `json:"Id"`
			Attempt       int
			Properties    map[string]int
			Notifications []map[string]any
		}
		if err := json.Unmarshal(p.body, &body); err != nil {
			t.Fatal(err)
		}
		if body.Attempt != 1 || body.Properties["p"] != 1 || len(body.Notifications) != 1 || body.Notifications[0]["Action"] != string(signing) {
			t.Errorf("%s: sent %s", signing, p.body)
		}
		var shown struct {
			Secrets []shownSecret
		}
		o.do(http.MethodGet, "/v1/subscriptions/"+sub.ID, "key-a", nil, "").into(t, &shown)
		if public := len(shown.Secrets) == 1 && strings.HasPrefix(shown.Secrets[0].PublicKey, "whpk_"); public != (signing == SigningV1a) {
			t.Errorf("%s: shown %+v", signing, shown)
		}
	}
	o.attempts(3)
	o.settled()
}

// The schedule and the time-out are the subscription's own.
func TestOwnScheduleAndTimeout(t *testing.T) {
	t.Parallel()
	o := newHouse(t).run(func(c *Config) { c.Timeout = time.Minute })
	s := newSubscriber(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	o.subscribe("key-a", map[string]any{"url": s.URL, "schedule": []string{"10ms"}, "timeout": "200ms"})
	o.notify("key-a", "n1", "t", `1`)
	all := o.attempts(2)
	if all[0].Verdict != retry || all[1].Verdict != dead || all[1].Reason != ReasonTimeout {
		t.Errorf("recorded %+v", all)
	}
	o.settled()
}
