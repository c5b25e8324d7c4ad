package sources_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/receiver"
)

// Who sends a secret as it is must do so over HTTPS, except where Belay is tried out.
func TestRequireHTTPS(t *testing.T) {
	const text = `sources:
- {receiver: gitlab, secrets: ["env:A"]}
- {receiver: gitlab, id: inside, secrets: ["env:A"], require_https: false}
- {receiver: gitlab, id: outside, secrets: ["env:A"], require_https: true}
- {receiver: github, secrets: ["env:A"]}
`
	for name, test := range map[string]struct {
		dev  bool
		want []bool
	}{
		"served":    {false, []bool{true, false, true, false}},
		"tried out": {true, []bool{false, false, true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := config.Parse("belay.yaml", []byte(text), config.Options{Dev: test.dev})
			if err != nil {
				t.Fatal(err)
			}
			built, err := sources.Build(f)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range built {
				if s.RequiresHTTPS() != test.want[i] {
					t.Errorf("%s requires HTTPS: %t", s.Name(), s.RequiresHTTPS())
				}
			}
		})
	}
}

func parse(t *testing.T, text string) *config.File {
	t.Helper()
	f, err := config.Parse("belay.yaml", []byte(text), config.Options{Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestBuild(t *testing.T) {
	f := parse(t, "sources:\n- {receiver: github, secrets: [a]}\n- {receiver: stripe, id: eu, secrets: [whsec_a]}\n")
	built, err := sources.Build(f)
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	for _, s := range built {
		urls = append(urls, sources.URL("/webhooks", s))
	}
	if want := []string{"/webhooks/github", "/webhooks/stripe/eu"}; !slices.Equal(urls, want) {
		t.Errorf("served at %q, want %q", urls, want)
	}
}

func TestBuildPassesTheLimitsOn(t *testing.T) {
	f := parse(t, "sources:\n- {receiver: github, secrets: [a], max_body: 5, max_header: 6, require_https: true, rate_limit: {per_second: 0.5}}\n")
	built, err := sources.Build(f)
	if err != nil {
		t.Fatal(err)
	}
	s := built[0]
	if s.MaxBody() != 5 || s.MaxHeader() != 6 || !s.RequiresHTTPS() || s.Rate() != (receiver.Rate{PerSecond: 0.5, Burst: 1}) {
		t.Errorf("body %d, headers %d, https %v, rate %+v", s.MaxBody(), s.MaxHeader(), s.RequiresHTTPS(), s.Rate())
	}
}

func TestBuildTellsEveryProblemWithItsLine(t *testing.T) {
	f := parse(t, "sources:\n- {receiver: gitbub, secrets: [a]}\n- receiver: generic\n  secrets: [a]\n  params:\n    hash: md5\n")
	_, err := sources.Build(f)
	if err == nil {
		t.Fatal("taken as valid")
	}
	for _, want := range []string{
		`belay.yaml:2: sources[0].receiver is "gitbub": want one of [`,
		`belay.yaml:6: sources[1].params.hash is "md5": want one of sha1, sha256, sha512`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got\n%v\nwant in it\n%s", err, want)
		}
	}
}

func TestCanonical(t *testing.T) {
	f := parse(t, `
sources:
- {receiver: standardwebhooks, id: a, secrets: [whsec_a]}
- {receiver: unheard-of, secrets: [a]}
chains:
- name: c
  from: [standardwebhooks, standardwebhooks/a, unheard-of]
  handlers: [{name: h, from: [standardwebhooks/a], log: {}}]
`)
	if err := sources.Canonical(f); err != nil {
		t.Fatal(err)
	}
	if got := f.Sources[0].Name(); got != "standard-webhooks/a" {
		t.Errorf("the source is %s", got)
	}
	if got, want := f.Chains[0].From, []string{"standard-webhooks", "standard-webhooks/a", "unheard-of"}; !slices.Equal(got, want) {
		t.Errorf("the chain is from %q, want %q", got, want)
	}
	if got := f.Chains[0].Handlers[0].From[0]; got != "standard-webhooks/a" {
		t.Errorf("the handler is from %s", got)
	}
}

func TestCanonicalFindsOneSourceUnderTwoNames(t *testing.T) {
	err := sources.Canonical(parse(t, "sources:\n- {receiver: standardwebhooks, secrets: [a]}\n- {receiver: standard-webhooks, secrets: [a]}\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "belay.yaml:3: ") {
		t.Errorf("got %v", err)
	}
}

func TestBuildTellsWhoAnswers(t *testing.T) {
	f := parse(t, `
sources:
- {receiver: slack, secrets: [a]}
- {receiver: slack, id: some, secrets: [a], answer: {wait: some}}
- {receiver: slack, id: code, secrets: [a], answer: {wait: elsewhere, in_code: true}}
chains:
- {name: some, from: [slack], events: [command.*], handlers: [{name: x, log: {}}]}
`)
	built, err := sources.Build(f)
	if err != nil {
		t.Fatal(err)
	}
	command := &event.Event{Receiver: "slack", Type: "slack.command.deploy"}
	message := &event.Event{Receiver: "slack", Type: "slack.message"}
	for i, want := range [][2]string{{"", ""}, {"some", ""}, {"elsewhere", "elsewhere"}} {
		if got := [2]string{built[i].Asks(command), built[i].Asks(message)}; got != want {
			t.Errorf("%s asks %q, want %q", built[i].Name(), got, want)
		}
	}
}
