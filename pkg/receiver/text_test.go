package receiver_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/receiver"
)

const formType = "application/x-www-form-urlencoded"

func TestText(t *testing.T) {
	slash := &event.Event{ContentType: formType, Body: []byte(`command=%2Fdeploy&text=a+%22b%22+%3Cc%3E&response_url=https%3A%2F%2Fhooks.slack.com%2Fx%3Fa%3Db&empty=`)}
	block := &event.Event{ContentType: formType, Body: []byte("payload=" + url.QueryEscape(`{"type":"block_actions","user":{"name":"ann"}}`))}
	interaction := &event.Event{
		ContentType: "application/json", Body: []byte(`{"application_id":"12","token":"a/../b c?+","up":"..","n":3}`), Header: http.Header{"X-Kept": {"k"}},
	}
	for name, test := range map[string]struct {
		e    *event.Event
		text string
		as   string // a content type, or URL
		want string // "-": not ok
	}{
		"text":               {slash, "ran {form:command} {form:text}", "text/plain", `ran /deploy a "b" <c>`},
		"in JSON":            {slash, `{"text":"{form:text}"}`, "application/json; charset=utf-8", `{"text":"a \"b\" \u003cc\u003e"}`},
		"in XML":             {slash, `<Say>{form:text}</Say>`, "text/xml", `<Say>a &#34;b&#34; &lt;c&gt;</Say>`},
		"missing":            {slash, "{form:none}", "text/plain", "-"},
		"empty":              {slash, "a{form:empty}", "text/plain", "-"},
		"may be empty":       {slash, "a{form:empty?}b", "text/plain", "ab"},
		"JSON of a form":     {block, "{json:user.name}", "text/plain", "ann"},
		"JSON":               {interaction, "{json:n} {header:x-kept}", "text/plain", "3 k"},
		"JSON of none":       {slash, "{json:n}", "text/plain", "-"},
		"whole URL":          {slash, "{form:response_url}", "URL", "https://hooks.slack.com/x?a=b"},
		"part of a URL":      {interaction, "https://discord.com/{json:application_id}/{json:token}?a={json:n}", "URL", "https://discord.com/12/a%2F..%2Fb%20c%3F%2B?a=3"},
		"up the path":        {interaction, "https://discord.com/api/{json:up}", "URL", "-"},
		"far too long":       {&event.Event{Body: []byte(strings.Repeat("x", 5000))}, "{body}", "text/plain", "-"},
		"braces that are no": {slash, `{"a":{}}`, "application/json", `{"a":{}}`},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := receiver.ParseText(test.text)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := text.Fill(test.e, test.as)
			if test.as == "URL" {
				got, ok = text.FillURL(test.e)
			}
			if !ok {
				got = "-"
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestTextErrors(t *testing.T) {
	for text, want := range map[string]string{
		"{url}": "{url} is none of them", "{query:a}": "which an event has", "{nothing}": "not {nothing}", "{form:a": "not closed",
	} {
		if _, err := receiver.ParseText(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", text, err, want)
		}
	}
}

// Whatever an event holds, it stays inside of the place that it fills.
func FuzzText(f *testing.F) {
	f.Add("text=hello&response_url=https://a", formType)
	f.Add(`{"text":"\u0000\ud800"}`, "application/json")
	f.Add("text=\x00%FF", formType)
	segment, err := receiver.ParseText("https://a.example/{form:text}/x")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body, contentType string) {
		e := &event.Event{ContentType: contentType, Body: []byte(body)}
		got, ok := segment.FillURL(e)
		if !ok {
			return
		}
		u, err := url.Parse(got)
		if err != nil || u.Host != "a.example" || strings.Count(u.EscapedPath(), "/") != 2 || u.RawQuery != "" || !utf8.ValidString(got) {
			t.Errorf("%q becomes %q: %v", body, got, err)
		}
	})
}
