package receiver

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// text is a secret that does not change.
type text string

func (s text) Value() (string, error) { return string(s), nil }

// broken is a secret that cannot be read.
type broken struct{}

var errBroken = errors.New("no such file")

func (broken) Value() (string, error) { return "", errBroken }

// secretOf is a secret such as the receiver's users have.
func secretOf(receiver string) Secret {
	if receiver == "standard-webhooks" {
		return text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	}
	return text("whsec_a secret that nobody knows")
}

func newSource(tb testing.TB, c SourceConfig) *Source {
	tb.Helper()
	if c.Secrets == nil {
		c.Secrets = []Secret{secretOf(c.Receiver)}
	}
	if r, ok := Lookup(c.Receiver); ok && c.Params == nil {
		c.Params = requiredParams(r)
	}
	if c.Fetcher == nil {
		c.Fetcher = offline
	}
	s, err := NewSource(c)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// offline reaches nobody: no test asks a real provider.
var offline = NewFetcher(FetcherConfig{Dial: func(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("offline")
}})

// requiredParams sets what every source of a receiver must set.
func requiredParams(r *Receiver) map[string]string {
	params := map[string]string{}
	for name, p := range r.Params {
		if p.Required {
			params[name] = "x"
		}
	}
	return params
}

func TestNewSourceErrors(t *testing.T) {
	for name, test := range map[string]struct {
		config      SourceConfig
		field, want string
	}{
		"unknown receiver":        {SourceConfig{Receiver: "hubgit"}, "receiver", "github"},
		"id with a slash":         {SourceConfig{Receiver: "github", ID: "a/b"}, "id", "letters"},
		"id that climbs":          {SourceConfig{Receiver: "github", ID: ".."}, "id", "letters"},
		"negative body":           {SourceConfig{Receiver: "github", MaxBody: -1}, "max_body", "above zero"},
		"negative headers":        {SourceConfig{Receiver: "github", MaxHeader: -1}, "max_header", "above zero"},
		"negative rate":           {SourceConfig{Receiver: "github", Rate: Rate{PerSecond: -1}}, "rate_limit.per_second", "above zero"},
		"rate that is no number":  {SourceConfig{Receiver: "github", Rate: Rate{PerSecond: math.NaN()}}, "rate_limit.per_second", "above zero"},
		"burst without a rate":    {SourceConfig{Receiver: "github", Rate: Rate{Burst: 1}}, "rate_limit.per_second", "above zero"},
		"negative burst":          {SourceConfig{Receiver: "github", Rate: Rate{PerSecond: 1, Burst: -1}}, "rate_limit.burst", "at least 1"},
		"no secret":               {SourceConfig{Receiver: "github", Secrets: []Secret{}}, "secrets", "at least one"},
		"empty secret":            {SourceConfig{Receiver: "github", Secrets: []Secret{text("x"), text("")}}, "secrets[1]", "not empty"},
		"secret that is no key":   {SourceConfig{Receiver: "standard-webhooks", Secrets: []Secret{text("whsec_top*secret")}}, "secrets[0]", "as the provider shows it"},
		"secret that is prefix":   {SourceConfig{Receiver: "standard-webhooks", Secrets: []Secret{text("whsec_")}}, "secrets[0]", "not empty"},
		"parameter of nobody":     {SourceConfig{Receiver: "linear", Params: map[string]string{"hash": "sha1"}}, "params.hash", "takes none"},
		"unknown parameter":       {SourceConfig{Receiver: "generic", Params: map[string]string{"hsah": "sha1"}}, "params.hsah", "content, encoding, event"},
		"value not allowed":       {SourceConfig{Receiver: "generic", Params: map[string]string{"hash": "md5"}}, "params.hash", "one of sha1, sha256, sha512"},
		"header that is none":     {SourceConfig{Receiver: "generic", Params: map[string]string{"header": "X Sig"}}, "params.header", "name of a header"},
		"empty header":            {SourceConfig{Receiver: "generic", Params: map[string]string{"header": ""}}, "params.header", "name of a header"},
		"empty content":           {SourceConfig{Receiver: "generic", Params: map[string]string{"content": ""}}, "params.content", "what is signed"},
		"template with a typo":    {SourceConfig{Receiver: "generic", Params: map[string]string{"id": "{headr:X}"}}, "params.id", "{header:Name}"},
		"time that is not signed": {SourceConfig{Receiver: "generic", Params: map[string]string{"timestamp": "X-Time"}}, "params.content", "{timestamp}"},
		"time that is not there":  {SourceConfig{Receiver: "generic", Params: map[string]string{"content": "{timestamp}{body}"}}, "params.content", "without {timestamp}"},
		"tolerance without time":  {SourceConfig{Receiver: "github", Tolerance: time.Minute}, "tolerance", "no signed timestamp"},
		"timeout too short":       {SourceConfig{Receiver: "github", Timeout: time.Millisecond}, "timeout", "1s to 15s"},
		"timeout too long":        {SourceConfig{Receiver: "github", Timeout: time.Minute}, "timeout", "1s to 15s"},
		"negative tolerance":      {SourceConfig{Receiver: "stripe", Tolerance: -time.Minute}, "tolerance", "above zero"},
		"key with a typo":         {SourceConfig{Receiver: "github", Key: "{json:a..b}"}, "key", "single dots"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.config.Secrets == nil {
				test.config.Secrets = []Secret{secretOf(test.config.Receiver)}
			}
			_, err := NewSource(test.config)
			wrong, ok := errors.AsType[*FieldError](err)
			if !ok || wrong.Field != test.field || !strings.Contains(wrong.Want, test.want) {
				t.Fatalf("error %v, want one of %s with %q", err, test.field, test.want)
			}
			if strings.Contains(err.Error(), "top*secret") {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

func TestSourceSaysWhatItServes(t *testing.T) {
	for _, test := range []struct {
		config  SourceConfig
		name    string
		budget  time.Duration
		maxBody int64
		types   map[string]bool
	}{
		{
			SourceConfig{Receiver: "github"}, "github/default", 9 * time.Second, 25 << 20,
			map[string]bool{
				"application/json": true, "Application/JSON; charset=utf-8": true,
				"application/x-www-form-urlencoded": true, "text/plain": false, "": false, "application/jsonx": false,
			},
		},
		{
			SourceConfig{Receiver: "stripe", ID: "eu", MaxBody: 1000}, "stripe/eu", 5 * time.Second, 1000,
			map[string]bool{"application/json; charset=utf-8": true, "application/x-www-form-urlencoded": false},
		},
		{
			SourceConfig{Receiver: "standardwebhooks", Secrets: []Secret{secretOf("standard-webhooks")}}, "standard-webhooks/default", 14 * time.Second, 1 << 20,
			map[string]bool{"application/json": true, "application/cloudevents+json": true, "application/xml": false},
		},
		{
			SourceConfig{Receiver: "generic"}, "generic/default", 5 * time.Second, 1 << 20,
			map[string]bool{"": true, "image/png": true},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSource(t, test.config)
			if s.Name() != test.name || s.Budget() != test.budget || s.MaxBody() != test.maxBody || !slices.Equal(s.Methods(), []string{"POST"}) {
				t.Errorf("name %s, budget %s, body %d, methods %v", s.Name(), s.Budget(), s.MaxBody(), s.Methods())
			}
			for contentType, want := range test.types {
				if got := s.AcceptsType(contentType); got != want {
					t.Errorf("accepts %q: %v, want %v", contentType, got, want)
				}
			}
		})
	}
}

func TestUnreadableSecretIsNoConfigurationError(t *testing.T) {
	newSource(t, SourceConfig{Receiver: "github", Secrets: []Secret{broken{}}})
}

func TestLimitsOfASource(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "github", MaxHeader: 100, RequireHTTPS: new(true), Rate: Rate{PerSecond: 0.5}, Timeout: 3 * time.Second})
	if s.Budget() != 2400*time.Millisecond {
		t.Errorf("a sender that waits 3 s is answered within %s", s.Budget())
	}
	if s.MaxHeader() != 100 || !s.RequiresHTTPS() || s.Rate() != (Rate{PerSecond: 0.5, Burst: 1}) || s.NeedsURL() {
		t.Errorf("headers %d, https %v, rate %+v, URL %v", s.MaxHeader(), s.RequiresHTTPS(), s.Rate(), s.NeedsURL())
	}
}

// What the sender signed is what it called, over whatever the request came.
func TestSignedURL(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "generic", Params: map[string]string{"content": "{method} {url} {body}"}})
	if !s.NeedsURL() {
		t.Error("it does not need the URL that is signed")
	}
	sent, err := http.NewRequest(http.MethodPost, "https://hooks.example.com/generic?a=b%2Fc", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(sent, []byte("{}"), time.Now()); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		scheme, host, path string
		ok                 bool
	}{
		"as it was called": {"https", "hooks.example.com", "/generic?a=b%2Fc", true},
		"in the clear":     {"", "hooks.example.com", "/generic?a=b%2Fc", false},
		"another host":     {"https", "example.com", "/generic?a=b%2Fc", false},
		"another query":    {"https", "hooks.example.com", "/generic?a=b", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, test.path, nil)
			r.Header, r.URL.Scheme, r.Host = sent.Header, test.scheme, test.host
			if _, err := s.Receive(r, []byte("{}"), time.Now()); (err == nil) != test.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

// What sends the secret itself needs HTTPS, whatever else is sent beside it.
func TestRequiresHTTPS(t *testing.T) {
	for name, want := range map[string]bool{
		"gitlab":              true, // a token in a header
		"kudu":                true, // a code in the query
		"basic-auth":          true,
		"ms-graph":            true, // in the body
		"zendesk":             false,
		"zendesk scheme=code": true,
		"slack":               false,
		"slack scheme=token":  true,
		"github":              false,
		"google-pubsub":       false, // a token that is signed, and ends
		"paypal-ipn":          false,
		"generic":             false,
	} {
		t.Run(name, func(t *testing.T) {
			slug, param, _ := strings.Cut(name, " ")
			r, _ := Lookup(slug)
			c := SourceConfig{Receiver: slug, Secrets: []Secret{secretFor(t, r)}, Params: map[string]string{}}
			if key, value, given := strings.Cut(param, "="); given {
				c.Params[key] = value
			}
			for name, p := range r.Params {
				if p.Required {
					c.Params[name] = "x@example.com"
				}
			}
			if s := newSource(t, c); s.RequiresHTTPS() != want {
				t.Errorf("it requires HTTPS: %t", s.RequiresHTTPS())
			}
			if param == "" && r.Summary().HTTPS != want {
				t.Errorf("its summary says %t", r.Summary().HTTPS)
			}
		})
	}
}
