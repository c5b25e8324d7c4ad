package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/belay-hooks/belay/pkg/config"
)

func parse(text string) (*config.File, error) {
	return config.Parse("belay.yaml", []byte(text), config.Options{})
}

func TestLoadWhole(t *testing.T) {
	f, err := config.Load("testdata/whole.yaml", config.Options{Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	if f.Generation != 3 || len(f.Sources) != 3 || len(f.Chains) != 4 {
		t.Fatalf("got generation %d, %d sources, %d chains", f.Generation, len(f.Sources), len(f.Chains))
	}
	if got := f.Sources[0]; got.Name() != "github/default" || got.Tolerance != 0 || got.MaxBody != 0 {
		t.Errorf("github is %+v", got)
	}
	if got := f.Sources[1]; got.Name() != "stripe/eu" || got.Tolerance.Std() != 5*time.Minute || len(got.Secrets) != 2 {
		t.Errorf("stripe is %+v", got)
	}
	if got := f.Sources[2].Params["version"]; got != "2" {
		t.Errorf("a number as a parameter is %q, want its text", got)
	}
	if got := f.Sources[2]; got.MaxHeader != 8192 || got.RequireHTTPS == nil || !*got.RequireHTTPS || f.Sources[1].RequireHTTPS != nil || *got.RateLimit != (config.RateLimit{PerSecond: 0.5, Burst: 20}) || f.Sources[1].RateLimit != nil {
		t.Errorf("shop is %+v", got)
	}
	deploy := f.Chains[0]
	if deploy.Start != "now" || deploy.Concurrency != config.DefaultConcurrency || *deploy.Retry != config.DefaultRetry() {
		t.Errorf("defaults of a chain are %+v", deploy)
	}
	if h := deploy.Handlers[0]; h.Kind() != "http" || h.HTTP.Timeout.Std() != 20*time.Second || h.Order != 10 {
		t.Errorf("forward is %+v", h)
	}
	if h := deploy.Handlers[1]; h.Kind() != "notify" || h.Notify.Tenant != "default" {
		t.Errorf("announce is %+v", h)
	}
	if r := f.Chains[1].Retry; r.Attempts != 3 || r.Jitter != 0 || r.Factor != 1.5 || *f.Chains[2].Retry != *r {
		t.Errorf("retry is %+v, its alias %+v", r, f.Chains[2].Retry)
	}
	if h := f.Chains[2].Handlers[0]; h.HTTP.Timeout.Std() != config.DefaultHTTPTimeout {
		t.Errorf("default time-out is %v", h.HTTP.Timeout)
	}
	if h := f.Chains[2].Handlers[1]; h.Log.Level != "info" || h.Log.Message != "event" {
		t.Errorf("empty log is %+v", h.Log)
	}
	if at, ok := f.Chains[2].StartTime(); !ok || !at.Equal(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("start is %v", at)
	}
}

func TestLoadMissingFile(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "belay.yaml"), config.Options{})
	if !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

func TestProblems(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", `belay.yaml: the file is empty, want sources and chains`},
		{"two documents", "sources: []\n---\nchains: []\n", `belay.yaml:3: want one document in the file, not several`},
		{"not a mapping", "- a\n", `belay.yaml:1: want fields (name: value), not a list`},
		{"syntax", "sources: [\nchains: ]", `belay.yaml:2: `},
		{"unknown field", "sorces: []\n", `belay.yaml:1: sorces: unknown field, want one of chains, generation, receivers, sources`},
		{
			"unknown field deep down", "chains:\n- name: a\n  handlers:\n  - name: b\n    http:\n      url: http://x\n      uri: y\n",
			`belay.yaml:7: chains[0].handlers[0].http.uri: unknown field, want one of headers, keep, response, timeout, url`,
		},
		{"duplicate field", "generation: 1\ngeneration: 2\n", `belay.yaml:2: mapping key "generation" already defined at [1:1]`},
		{"negative generation", "generation: -1\n", `belay.yaml:1: generation is "-1": want 0 or more`},
		{"generation is text", "generation: new\n", `belay.yaml:1: generation is "new": want a whole number`},
		{"list wanted", "sources: github\n", `belay.yaml:1: sources: want a list ([a, b] or lines with -), not a single value`},
		{"empty element", "sources:\n- receiver: github\n-\n", `belay.yaml:3: sources[1]: empty, want a value`},
		{
			"receiver's form", "sources:\n- receiver: Git Hub\n",
			`belay.yaml:2: sources[0].receiver is "Git Hub": want 1 to 63 of a-z, 0-9, - and _, beginning with a letter or a digit`,
		},
		{
			"same source twice", "sources:\n- receiver: github\n- receiver: github\n  id: default\n",
			`belay.yaml:3: sources[1] is "github/default": the source of line 2 has this receiver and id, want another id`,
		},
		{"tolerance without a unit", "sources:\n- {receiver: github, tolerance: 5}\n", `belay.yaml:2: sources[0].tolerance is "5": want a duration such as 300ms, 30s, 5m or 72h`},
		{"tolerance of zero", "sources:\n- {receiver: github, tolerance: 0s}\n", `belay.yaml:2: sources[0].tolerance is "0s": want a duration above 0`},
		{"body too large", "sources:\n- {receiver: github, max_body: 99999999999}\n", `belay.yaml:2: sources[0].max_body is "99999999999": want 1 to 67108864 bytes`},
		{"headers too large", "sources:\n- receiver: github\n  max_header: 40000\n", `belay.yaml:3: sources[0].max_header is "40000": want 1 to 32768 bytes`},
		{"https by another word", "sources:\n- receiver: github\n  require_https: yes\n", `belay.yaml:3: sources[0].require_https is "yes": want true or false`},
		{"https as a list", "sources:\n- receiver: github\n  require_https: [true]\n", `belay.yaml:3: sources[0].require_https: want true or false, not a list`},
		{"rate as a number", "sources:\n- receiver: github\n  rate_limit: 5\n", `belay.yaml:3: sources[0].rate_limit: want fields (name: value), not a single value`},
		{
			"rate without a number", "sources:\n- receiver: github\n  rate_limit:\n    burst: 0\n",
			`belay.yaml:4: sources[0].rate_limit.per_second: missing, want how many webhooks in a second, such as 50 or 0.5
belay.yaml:4: sources[0].rate_limit.burst is "0": want 1 to 1000000`,
		},
		{"rate of zero", "sources:\n- receiver: github\n  rate_limit:\n    per_second: 0\n", `belay.yaml:4: sources[0].rate_limit.per_second is "0": want a number above 0, at most 1000000`},
		{"rate of nothing", "sources:\n- receiver: github\n  rate_limit: {per_second: NaN}\n", `belay.yaml:3: sources[0].rate_limit.per_second is "NaN": want a number above 0, at most 1000000`},
		{
			"respond", "chains:\n- name: a\n  handlers:\n  - name: x\n    respond:\n      status: 103\n      content_type: json\n      headers: {\"a b\": c}\n",
			`belay.yaml:6: chains[0].handlers[0].respond.status is "103": want the status of an answer, 200 to 599
belay.yaml:7: chains[0].handlers[0].respond.content_type is "json": want a media type, such as application/json
belay.yaml:8: chains[0].handlers[0].respond.headers.a b: want the name and the value of an HTTP header, on one line`,
		},
		{
			"reply without anything", "chains:\n- name: a\n  handlers:\n  - name: x\n    reply: {}\n",
			`belay.yaml:5: chains[0].handlers[0].reply.to: missing, want the URL as it stands in the event, such as "{form:response_url}"
belay.yaml:5: chains[0].handlers[0].reply.hosts: missing, want the hosts that the URL may have, such as [hooks.slack.com]
belay.yaml:5: chains[0].handlers[0].reply: want exactly one of body and value`,
		},
		{
			"reply to any host", "chains:\n- name: a\n  handlers:\n  - name: x\n    reply:\n      to: x\n      hosts: ['*']\n      value: v\n",
			`belay.yaml:7: chains[0].handlers[0].reply.hosts[0] is "*": want the name of a host in lower case, such as hooks.slack.com, without scheme, path and *`,
		},
		{
			"response and keep", "chains:\n- name: a\n  handlers:\n  - name: x\n    http:\n      url: http://x\n      response: true\n      keep: v\n",
			`belay.yaml:8: chains[0].handlers[0].http.keep is "v": want no keep beside response, which ends the chain`,
		},
		{"answer without a chain", "sources:\n- receiver: github\n  answer: {}\n", `belay.yaml:3: sources[0].answer.wait: missing, want the name of the chain whose Response is the answer`},
		{
			"answer of an unknown chain", "sources:\n- receiver: github\n  answer:\n    wait: slash\n",
			`belay.yaml:4: sources[0].answer.wait is "slash": want a chain of the chains below; where it is in the code of a worker of yours, say in_code: true beside it`,
		},
		{
			"answer of a chain that takes other events",
			"sources:\n- receiver: slack\n  answer:\n    wait: slash\n- {receiver: slack, id: eu, answer: {wait: slash}}\nchains:\n- {name: slash, from: [slack/eu], handlers: [{name: x, log: {}}]}\n",
			`belay.yaml:4: sources[0].answer.wait is "slash": the chain of line 7 does not take the events of slack/default, want it in the chain's from`,
		},
		{
			"answer of a chain in code that is in the file",
			"sources:\n- receiver: slack\n  answer: {wait: slash, in_code: true}\nchains:\n- {name: slash, handlers: [{name: x, log: {}}]}\n",
			`belay.yaml:3: sources[0].answer.wait is "slash": a chain of this name is in the file, want no in_code`,
		},
		{
			"answer of a chain in code by a wrong name",
			"sources:\n- {receiver: slack, answer: {wait: Slash 1, in_code: true}}\n",
			`belay.yaml:2: sources[0].answer.wait is "Slash 1": want 1 to 63 of a-z, 0-9, - and _, beginning with a letter or a digit`,
		},
		{
			"inline secret", "sources:\n- receiver: github\n  secrets:\n  - hunter2\n",
			`belay.yaml:4: sources[0].secrets[0]: a secret stands in the file, want env:NAME or file:/path (inline only with serve --dev)`,
		},
		{
			"secret as a field", "sources:\n- receiver: github\n  secrets:\n  - hunter2: x\n",
			`belay.yaml:4: sources[0].secrets[0]: want env:NAME or file:/path as text, not fields`,
		},
		{
			"secrets not a list", "sources:\n- receiver: github\n  secrets: hunter2\n",
			`belay.yaml:3: sources[0].secrets: want a list ([a, b] or lines with -), not a single value`,
		},
		{"relative secret file", "sources:\n- {receiver: github, secrets: [\"file:hunter2\"]}\n", `belay.yaml:2: sources[0].secrets[0]: want an absolute path after file:`},
		{"secret variable's form", "sources:\n- {receiver: github, secrets: [\"env:1 hunter2\"]}\n", `belay.yaml:2: sources[0].secrets[0]: want the name of an environment variable after env:`},
		{
			"chain without anything", "chains:\n- {}\n", `belay.yaml:2: chains[0].name: missing, want 1 to 63 of a-z, 0-9, - and _, beginning with a letter or a digit
belay.yaml:2: chains[0].handlers: missing, want at least one handler`,
		},
		{
			"same chain twice", "chains:\n- {name: a, handlers: [{name: x, log: {}}]}\n- {name: a, handlers: [{name: x, log: {}}]}\n",
			`belay.yaml:3: chains[1].name is "a": the chain of line 2 has this name, want another`,
		},
		{
			"same handler twice", "chains:\n- name: a\n  handlers:\n  - {name: x, log: {}}\n  - {name: x, log: {}}\n",
			`belay.yaml:5: chains[0].handlers[1].name is "x": the handler of line 4 has this name, want another`,
		},
		{
			"from nowhere", "sources:\n- {receiver: github, id: eu}\nchains:\n- {name: a, from: [github, github/us], handlers: [{name: x, from: [slack], log: {}}]}\n",
			`belay.yaml:4: chains[0].from[1] is "github/us": want a receiver (github) or a source (github/eu) of the sources above
belay.yaml:4: chains[0].handlers[0].from[0] is "slack": want a receiver (github) or a source (github/eu) of the sources above`,
		},
		{
			"bad pattern", "chains:\n- {name: a, events: [pull_*], handlers: [{name: x, log: {}}]}\n",
			`belay.yaml:2: chains[0].events[0] is "pull_*": want a name such as push, pull_request.* or *, with * for a whole token`,
		},
		{
			"bad start", "chains:\n- {name: a, start: yesterday, handlers: [{name: x, log: {}}]}\n",
			`belay.yaml:2: chains[0].start is "yesterday": want now, earliest or a time such as 2026-11-22T10:00:00Z`,
		},
		{"no concurrency", "chains:\n- {name: a, concurrency: 0, handlers: [{name: x, log: {}}]}\n", `belay.yaml:2: chains[0].concurrency is "0": want 1 to 10000`},
		{
			"retry out of bounds", "chains:\n- name: a\n  retry:\n    attempts: 0\n    first: 1m\n    factor: 0.5\n    max: 1s\n    jitter: .nan\n    give_up: 9999h\n  handlers: [{name: x, log: {}}]\n",
			`belay.yaml:4: chains[0].retry.attempts is "0": want 1 to 1000
belay.yaml:6: chains[0].retry.factor is "0.5": want 1 to 100
belay.yaml:7: chains[0].retry.max is "1s": want no less than first, 1m0s
belay.yaml:8: chains[0].retry.jitter is ".nan": want a number
belay.yaml:9: chains[0].retry.give_up is "9999h0m0s": want at most 8760h0m0s`,
		},
		{
			"expressions and checkpoints", "chains:\n- name: a\n  checkpoint: often\n  handlers:\n  - name: x\n    checkpoint: yes\n    transform: {keep: A}\n  - name: y\n    publish: {core: true}\n",
			`belay.yaml:3: chains[0].checkpoint is "often": want always, or no checkpoint
belay.yaml:6: chains[0].handlers[0].checkpoint is "yes": want always, or no checkpoint
belay.yaml:7: chains[0].handlers[0].transform.jq: missing, want a query such as {id: .id}
belay.yaml:7: chains[0].handlers[0].transform.keep is "A": want 1 to 63 of a-z, 0-9, - and _, beginning with a letter or a digit
belay.yaml:9: chains[0].handlers[1].publish.subject: missing, want a subject such as orders.{json:id}`,
		},
		{"handler of no kind", "chains:\n- {name: a, handlers: [{name: x}]}\n", `belay.yaml:2: chains[0].handlers[0]: want exactly one of http, notify, publish, respond, reply, transform, filter, log`},
		{
			"handler of two kinds", "chains:\n- {name: a, handlers: [{name: x, log: {}, http: {url: \"http://x\"}}]}\n",
			`belay.yaml:2: chains[0].handlers[0] is "http, log": want exactly one of http, notify, publish, respond, reply, transform, filter, log`,
		},
		{"url without scheme", "chains:\n- {name: a, handlers: [{name: x, http: {url: example.com/hook}}]}\n", `belay.yaml:2: chains[0].handlers[0].http.url is "example.com/hook": want an absolute http or https URL`},
		{"url of another scheme", "chains:\n- {name: a, handlers: [{name: x, http: {url: \"ftp://me:hunter2@example.com/hunter2?key=hunter2\"}}]}\n", `belay.yaml:2: chains[0].handlers[0].http.url is "ftp://example.com/…": want an absolute http or https URL`},
		{"url that cannot be read", "chains:\n- {name: a, handlers: [{name: x, http: {url: \"http://me:hunter2@%zz\"}}]}\n", `belay.yaml:2: chains[0].handlers[0].http.url: want an absolute http or https URL`},
		{"no url", "chains:\n- {name: a, handlers: [{name: x, http: {}}]}\n", `belay.yaml:2: chains[0].handlers[0].http.url: missing, want an absolute http or https URL`},
		{
			"header over two lines", "chains:\n- {name: a, handlers: [{name: x, http: {url: \"http://x\", headers: {X-A: \"hunter2\\r\\nX-B: 1\"}}}]}\n",
			`belay.yaml:2: chains[0].handlers[0].http.headers.X-A: want the name and the value of an HTTP header, on one line`,
		},
		{"notification without a type", "chains:\n- {name: a, handlers: [{name: x, notify: {}}]}\n", `belay.yaml:2: chains[0].handlers[0].notify.type: want the notification's type, such as deploy.requested`},
		{"log level", "chains:\n- {name: a, handlers: [{name: x, log: {level: loud}}]}\n", `belay.yaml:2: chains[0].handlers[0].log.level is "loud": want debug, info, warn or error`},
		{"alias of itself", "sources: &a [*a]\n", `belay.yaml:1: sources[0]: want fields (name: value), not a list`},
		{
			"many aliases",
			"sources:\n- &s {receiver: github, secrets: &l [env:A" + strings.Repeat(", env:A", 999) + "]}\n" + strings.Repeat("- *s\n", 200),
			"want fewer",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse(test.text)
			if err == nil {
				t.Fatal("it is taken as valid")
			}
			got := err.Error()
			if strings.Contains(got, "hunter2") {
				t.Errorf("a secret is shown: %s", got)
			}
			exact := strings.HasPrefix(test.want, "belay.yaml") && !strings.HasSuffix(test.want, " ")
			if exact && got != test.want || !strings.Contains(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
			var problems config.Problems
			if !errors.As(err, &problems) {
				t.Errorf("the error is %T, want Problems", err)
			}
		})
	}
}

func TestLocate(t *testing.T) {
	f, err := parse("sources:\n  - receiver: github\n    params:\n      header: X\n  - receiver: stripe\n")
	if err != nil {
		t.Fatal(err)
	}
	plain := errors.New("the broker is gone")
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"nothing", nil, "<nil>"},
		{"not of the file", plain, "the broker is gone"},
		{"its own line", &config.FieldError{Path: "sources[0].params.header", Value: "X", Want: "want a header"}, `belay.yaml:4: sources[0].params.header is "X": want a header`},
		{"what is missing stands at what is around it", &config.FieldError{Path: "sources[1].params.hash", Want: "missing"}, `belay.yaml:5: sources[1].params.hash: missing`},
		{"inside another error", fmt.Errorf("ingress: %w", &config.FieldError{Path: "sources[1]", Want: "no secret"}), `belay.yaml:5: ingress: sources[1]: no secret`},
		{
			"several", errors.Join(&config.FieldError{Path: "sources[0]", Want: "a"}, plain, &config.FieldError{Path: "sources[1]", Want: "b"}),
			"belay.yaml:2: sources[0]: a\nthe broker is gone\nbelay.yaml:5: sources[1]: b",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := fmt.Sprint(f.Locate(test.err)); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
	once := f.Locate(&config.FieldError{Path: "sources[0]", Want: "a"})
	if twice := f.Locate(once); twice.Error() != once.Error() {
		t.Errorf("located twice: %v", twice)
	}
}

// What is printed of a configuration shows no secret, whatever prints it.
func TestFileShowsNoSecret(t *testing.T) {
	f, err := config.Parse("belay.yaml", []byte("sources:\n- {receiver: github, secrets: [hunter2]}\n"), config.Options{Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{
		fmt.Sprintf("%v %+v %#v %s", f.Sources, f.Sources[0], f.Sources[0], f.Sources[0].Secrets),
		string(asJSON), string(asYAML),
	} {
		if strings.Contains(got, "hunter2") {
			t.Errorf("shown: %s", got)
		}
	}
}

func FuzzParse(f *testing.F) {
	whole, err := os.ReadFile("testdata/whole.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(whole))
	f.Add("sources: &a [*a]\n")
	f.Add("a: [\n- {")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := config.Parse("belay.yaml", []byte(text), config.Options{Dev: true})
		if err != nil {
			var problems config.Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		for _, c := range file.Chains {
			if c.Name == "" || len(c.Handlers) == 0 || c.Retry == nil || c.Concurrency < 1 {
				t.Fatalf("taken as valid: %+v", c)
			}
			for _, h := range c.Handlers {
				if h.Kind() == "" {
					t.Fatalf("taken as valid: %+v", h)
				}
			}
		}
	})
}
