package samples_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/receiver/samples"
)

const to = "https://hooks.example.com/webhooks/x"

type text string

func (s text) Value() (string, error) { return string(s), nil }

func source(t *testing.T, slug string) *receiver.Source {
	t.Helper()
	r, ok := receiver.Lookup(slug)
	if !ok {
		t.Fatalf("there are samples of %s, and no such receiver", slug)
	}
	secret, err := samples.Secret(r)
	if err != nil {
		t.Fatal(err)
	}
	s, err := receiver.NewSource(receiver.SourceConfig{Receiver: slug, Secrets: []receiver.Secret{text(secret)}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func send(t *testing.T, s *receiver.Source, sample *samples.Sample, id string, now time.Time) *event.Event {
	t.Helper()
	r, body, err := sample.Request(t.Context(), to, id, now)
	if err != nil {
		t.Fatal(err)
	}
	if body, err = s.Sign(r, body, now); err != nil {
		t.Fatal(err)
	}
	if !s.AcceptsType(r.Header.Get("Content-Type")) {
		t.Fatalf("the receiver does not take %s", r.Header.Get("Content-Type"))
	}
	got, err := s.Receive(r, body, now)
	if err != nil {
		t.Fatal(err)
	}
	return got.Event
}

// What a sample promises is what comes out.
func TestEachSample(t *testing.T) {
	now := time.Now()
	for _, slug := range samples.Receivers() {
		s := source(t, slug)
		for _, sample := range samples.Of(slug) {
			t.Run(slug+"/"+sample.Event, func(t *testing.T) {
				first, second := send(t, s, sample, "", now), send(t, s, sample, "", now)
				if sample.Unstored {
					if first != nil {
						t.Errorf("it is the event %s, want none", first.Type)
					}
					return
				}
				if first == nil {
					t.Fatal("it is no event")
				}
				key := sample.Key
				if key == "{{.ID}}" && strings.Contains(first.ID, first.Key) {
					key = first.Key
				}
				if first.Type != sample.Type || first.Key != key {
					t.Errorf("type %q and key %q, want %q and %q", first.Type, first.Key, sample.Type, key)
				}
				if first.ID == second.ID {
					t.Errorf("both have the id %s", first.ID)
				}
				f := s.Receiver().Form
				if len(f.Key) > 0 && first.Key == "" && slug != "generic" {
					t.Error("it has no key")
				}
				if len(f.ID) == 0 {
					return
				}
				third, fourth := send(t, s, sample, "1234567890", now), send(t, s, sample, "1234567890", now.Add(time.Second))
				if third.ID != fourth.ID || !strings.Contains(third.ID, "1234567890") {
					t.Errorf("the ids of a delivery and its repetition are %s and %s", third.ID, fourth.ID)
				}
			})
		}
	}
}

// without are the receivers that there are no samples of, and why not.
var without = map[string]string{
	"adobe-io-events":             "only Adobe has the key",
	"atlassian-connect":           "it takes a client_key",
	"atlassian-connect-lifecycle": "only Atlassian has the key",
	"aws-sns":                     "only Amazon has the key",
	"google-eventarc":             "only Google has the key",
	"google-pubsub":               "only Google has the key",
	"paypal":                      "only PayPal has the key",
	"plaid":                       "only Plaid has the key",
	"paypal-ipn":                  "PayPal is asked, and signs nothing",
	"stripe-callback":             "Stripe is asked, and signs nothing",
}

func TestEachReceiverHasSamples(t *testing.T) {
	for _, slug := range receiver.Names() {
		if has := len(samples.Of(slug)) > 0; has == (without[slug] != "") {
			t.Errorf("%s has samples: %t, and is listed as without them: %t", slug, has, has)
		}
	}
}

func TestFind(t *testing.T) {
	for name, want := range map[string]string{
		"github ":                    "push",
		"github pull_request":        "pull_request.opened",
		"github pull_request.opened": "pull_request.opened",
		"github pull":                "",
		"nobody ":                    "",
	} {
		slug, event, _ := strings.Cut(name, " ")
		got := ""
		if s, ok := samples.Find(slug, event); ok {
			got = s.Event
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestRequestOfNoURL(t *testing.T) {
	s, _ := samples.Find("github", "push")
	if _, _, err := s.Request(t.Context(), "://", "", time.Now()); err == nil {
		t.Error("want an error")
	}
	r, _, err := s.Request(t.Context(), to, "", time.Now())
	if err != nil || r.Method != http.MethodPost {
		t.Errorf("%v %v", r, err)
	}
}
