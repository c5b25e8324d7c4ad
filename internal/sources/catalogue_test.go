package sources_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/receiver"
)

const acme = `receivers:
  acme:
    name: Acme
    aliases: [acme-shop]
    signatures:
      - {header: Acme-Signature, prefix: sig=, encoding: hex, algorithm: hmac-sha256, content: "{timestamp}.{body}"}
    timestamp: {header: Acme-Time, unit: s, tolerance: 5m}
    id: "{header:Acme-Delivery}"
    event: ["{json:event}.{json:action}", "{json:event}"]
    answer: {status: 200}
`

func TestDeclaredReceiver(t *testing.T) {
	f := parse(t, acme+"sources:\n- {receiver: acme-shop, secrets: [a]}\n")
	if err := sources.Canonical(f); err != nil {
		t.Fatal(err)
	}
	built, err := sources.Build(f)
	if err != nil {
		t.Fatal(err)
	}
	s, now, body := built[0], time.Now(), []byte(`{"event":"order","action":"paid"}`)
	r := httptest.NewRequest("POST", "/webhooks/acme", nil)
	if _, err := s.Sign(r, body, now); err != nil {
		t.Fatal(err)
	}
	got, err := s.Receive(r, body, now)
	if err != nil || got.Event.Type != "acme.order.paid" || got.Answer.Status != 200 || got.Event.ID != r.Header.Get("Acme-Delivery") {
		t.Errorf("received %+v, %v", got, err)
	}
}

func TestDeclaredReceiverExtends(t *testing.T) {
	f := parse(t, "receivers:\n  hub: {extends: GitHub, name: Our GitHub, event: \"{header:X-GitHub-Event}\"}\n")
	all, err := sources.Catalogue(f)
	if err != nil {
		t.Fatal(err)
	}
	hub, _ := all.Lookup("hub")
	github, _ := all.Lookup("github")
	if hub.Name != "Our GitHub" || len(hub.Event) != 1 || hub.Slug != "hub" || hub.Timeout != github.Timeout || len(hub.Signatures) != len(github.Signatures) {
		t.Errorf("it is %+v", hub)
	}
	if len(github.Event) != 2 {
		t.Error("what was extended has changed")
	}
}

func TestDeclaredReceiverInAFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("acme.yaml", "name: Acme\nsignatures:\n  - {header: S, encoding: hex, algorithm: hmac-sha3, content: \"{body}\"}\n")
	write("none.yaml", "")
	path := write("belay.yaml", "receivers:\n  acme:\n    file: acme.yaml\n  no: {file: none.yaml}\n  gone: {file: gone.yaml}\n  both: {file: acme.yaml, name: Both}\n")
	f, err := config.Load(path, config.Options{})
	for _, want := range []string{
		path + ":5: receivers.gone.file: want a file that can be read: ",
		path + ":6: receivers.both.file: want the path of a file, and nothing beside it",
		filepath.Join(dir, "none.yaml") + ": receivers.no: the file is empty, want a receiver",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got\n%v\nwant in it\n%s", err, want)
		}
	}
	_, err = sources.Catalogue(f)
	if want := filepath.Join(dir, "acme.yaml") + `:3: receivers.acme.signatures[0].algorithm is "hmac-sha3": want one of `; err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got\n%v\nwant only\n%s", err, want)
	}
}

func TestDeclaredReceiverProblems(t *testing.T) {
	const signature = "    signatures: [{header: S, encoding: hex, algorithm: hmac-sha256, content: \"{body}\"}]\n"
	for name, test := range map[string]struct{ text, want string }{
		"a field it does not know": {signature + "    evnt: x\n", `belay.yaml:4: receivers.acme.evnt: unknown field, want one of about, aliases, `},
		"inlined fields":           {"    signatures:\n    - {headr: S}\n", `belay.yaml:4: receivers.acme.signatures[0].headr: unknown field, want one of algorithm, `},
		"several problems": {
			"    timeout: 8\n    methods: POST\n    event: {a: b}\n",
			"belay.yaml:3: receivers.acme.timeout is \"8\": want a duration such as 300ms, 30s, 5m or 72h\n" +
				"belay.yaml:4: receivers.acme.methods: want a list ([a, b] or lines with -), not a single value\n" +
				"belay.yaml:5: receivers.acme.event: want a list ([a, b] or lines with -), not fields",
		},
		"a template":              {signature + "    id: \"{head:X}\"\n", `belay.yaml:4: receivers.acme.id is "{head:X}": want one of {body} `},
		"no signature":            {"    name: x\n", `belay.yaml:3: receivers.acme.signatures: want at least one: without any, anybody could send`},
		"an unsigned timestamp":   {signature + "    timestamp: {header: T, unit: s}\n", `belay.yaml:3: receivers.acme.signatures[0].content is "{body}": want a template with {timestamp}`},
		"a method":                {signature + "    methods: [Post]\n", `belay.yaml:4: receivers.acme.methods[0] is "Post": want one of POST, `},
		"a content type":          {signature + "    content_types: [JSON]\n", `belay.yaml:4: receivers.acme.content_types[0] is "JSON": want a media type`},
		"a header to keep":        {signature + "    keep: [\"a b\"]\n", `belay.yaml:4: receivers.acme.keep[0] is "a b": want the name of a header`},
		"an answer":               {signature + "    answer: {status: 302}\n", `belay.yaml:4: receivers.acme.answer.status is "302": want 200 to 299`},
		"a parameter's default":   {"    params: {p: {default: \"{x}\"}}\n" + signature + "    id: \"{param:p}\"\n", `belay.yaml:3: receivers.acme.params.p.default is "{x}": want one of {body}`},
		"an unknown one extended": {"    extends: hubgit\n", `belay.yaml:3: receivers.acme.extends is "hubgit": want a receiver of the catalogue`},
		"an alias that is taken":  {signature + "    aliases: [stripe]\n", `belay.yaml:4: receivers.acme.aliases[0] is "stripe": want another name: the catalogue has a receiver stripe (Stripe)`},
	} {
		t.Run(name, func(t *testing.T) {
			f := parse(t, "receivers:\n  acme:\n"+test.text+"sources:\n- {receiver: acme, secrets: [a]}\n")
			_, err := sources.Build(f)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) || strings.Count(err.Error(), "\n") != strings.Count(test.want, "\n") {
				t.Errorf("got\n%v\nwant\n%s", err, test.want)
			}
		})
	}
}

func TestDeclaredReceiverTakesNoName(t *testing.T) {
	f := parse(t, strings.Replace(acme, "acme:", "github:", 1))
	_, err := sources.Catalogue(f)
	if want := `belay.yaml:2: receivers.github is "github": want another name: the catalogue has a receiver github (GitHub)`; err == nil || err.Error() != want && !strings.HasPrefix(err.Error(), strings.Replace(want, ":2:", ":3:", 1)) {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// A parameter without a default is the sources' to set, and theirs to be blamed for.
func TestDeclaredReceiverWithAParameter(t *testing.T) {
	f := parse(t, `receivers:
  acme:
    params: {header: {about: the header}}
    signatures: [{header: "{param:header}", encoding: hex, algorithm: hmac-sha256, content: "{body}"}]
sources:
- {receiver: acme, secrets: [a], params: {header: X-Acme}}
- {receiver: acme, id: b, secrets: [a]}
`)
	_, err := sources.Build(f)
	if err == nil || !strings.HasPrefix(err.Error(), "belay.yaml:7: sources[1].params.header: want the name of a header") {
		t.Errorf("got %v", err)
	}
	if _, err := receiver.New("x", receiver.Form{}); err == nil {
		t.Error("a receiver without signatures")
	}
}
