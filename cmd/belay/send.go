package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/receiver"
)

// samples are genuine payloads, samples/<receiver>/<event>.json.
//
//go:embed samples
var samples embed.FS

const (
	// sendTimeout bounds one request. It is longer than any sender waits.
	sendTimeout = 60 * time.Second
	// sendIngress is where serve --dev receives.
	sendIngress = "http://127.0.0.1:8080/webhooks"
	// maxAnswer bounds what is shown of an answer.
	maxAnswer = 64 << 10
	// maxPayload is more than any provider sends: GitHub stops at 25 MB.
	maxPayload = 64 << 20
)

type sendCmd struct {
	Receiver string            `arg:"" help:"The provider, such as github, or one of its sources: github/eu."`
	Event    string            `arg:"" optional:"" help:"The event, such as pull_request."`
	File     string            `short:"f" placeholder:"FILE" env:"-" help:"The payload; - for standard input. Without it, a genuine sample."`
	URL      string            `name:"url" env:"-" help:"Where to. Default: the source's URL at --ingress."`
	Ingress  string            `default:"${ingress}" env:"-" help:"Where the ingress is, prefix included."`
	Config   string            `placeholder:"FILE" help:"The configuration file with the source, for its secret and parameters. Without it, those of serve --dev."`
	Secret   config.Redacted   `placeholder:"SECRET" env:"-" help:"The secret to sign with: env:NAME, file:/path, or the secret."`
	Params   map[string]string `name:"param" placeholder:"NAME=VALUE" env:"-" help:"A parameter of the receiver, such as header=X-Signature of generic."`
	Header   map[string]string `short:"H" placeholder:"NAME=VALUE" env:"-" help:"A header to send along."`
	ID       string            `name:"id" env:"-" help:"The delivery id, to repeat a delivery. Default: a new one each time."`
	Count    int               `default:"1" env:"-" help:"How often to send, one after another."`
	JSON     bool              `name:"json" env:"-" help:"Print one JSON object for each answer."`

	configGiven bool
}

// Help shows how it is used, and what there is to send.
func (*sendCmd) Help() string {
	return `With belay serve --dev running:

  belay send github pull_request
  belay send github push -f payload.json --count 3
  belay send stripe charge.succeeded --json

To a Belay of your own, with its configuration or with a secret:

  belay send github push --config belay.yaml --ingress https://hooks.example.com/webhooks
  belay send generic order --secret env:SHOP_SECRET --param header=X-Shop-Signature \
      -f order.json --url http://127.0.0.1:8080/webhooks/generic/shop

Samples: ` + strings.Join(sampleNames(), ", ")
}

// AfterApply notes what was given.
func (c *sendCmd) AfterApply(k *kong.Context) error {
	c.configGiven = given(k, "config")
	return nil
}

// answer is what came back for one webhook.
type answer struct {
	URL       string  `json:"url"`
	Status    int     `json:"status"`
	EventID   string  `json:"event_id,omitempty"`
	Duplicate bool    `json:"duplicate"`
	Body      string  `json:"body,omitempty"`
	Millis    float64 `json:"milliseconds"`
}

func (a *answer) ok() bool { return a.Status >= 200 && a.Status < 300 }

// Run sends.
func (c *sendCmd) Run(ctx context.Context, s streams) error {
	if c.Count < 1 {
		return &exitError{fmt.Errorf("--count is %d, want 1 or more", c.Count), exitUsage}
	}
	source, err := c.source()
	if err != nil {
		return &exitError{err, exitUsage}
	}
	body, name, err := c.payload(source)
	if err != nil {
		return &exitError{err, exitUsage}
	}
	refused := 0
	for range c.Count {
		a, err := c.post(ctx, source, name, body)
		if err != nil {
			return err
		}
		if err := c.print(s.out, a, len(body)); err != nil {
			return err
		}
		if !a.ok() {
			refused++
		}
	}
	if refused > 0 {
		return fmt.Errorf("%d of %d webhooks were not accepted; the log of the ingress says why", refused, c.Count)
	}
	return nil
}

// source is what signs: a source of the configuration file, or of the demo's,
// or one made of the flags.
func (c *sendCmd) source() (*receiver.Source, error) {
	choice := sourceChoice{name: c.Receiver, params: c.Params}
	if c.configGiven {
		choice.config = c.Config
	}
	if c.Secret != "" {
		secret, err := config.NewSecret(string(c.Secret), config.Options{Dev: true, LookupEnv: os.LookupEnv})
		if err != nil {
			return nil, fmt.Errorf("--secret: %w", err)
		}
		choice.secret = secret
	}
	source, _, err := choice.source()
	return source, err
}

// payload is the body to send, and the name of its event.
func (c *sendCmd) payload(s *receiver.Source) (body []byte, name string, err error) {
	switch c.File {
	case "":
		return sample(s.Receiver().Slug, c.Event)
	case "-":
		body, err = readPayload(os.Stdin)
	default:
		var f *os.File
		if f, err = os.Open(c.File); err != nil {
			return nil, "", err
		}
		defer f.Close()
		body, err = readPayload(f)
	}
	if err == nil && c.Event == "" && s.EventHeader() != "" {
		err = fmt.Errorf("which event is it? %s names it in a header: belay send %s <event> -f %s", s.Receiver().Name, c.Receiver, c.File)
	}
	return body, c.Event, err
}

func readPayload(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxPayload+1))
	if err == nil && len(body) > maxPayload {
		err = fmt.Errorf("the payload is over %d bytes", maxPayload)
	}
	return body, err
}

// sample finds a built-in payload: pull_request is pull_request.opened.json.
func sample(slug, name string) (body []byte, found string, err error) {
	for _, s := range sampleNames() {
		r, event, _ := strings.Cut(s, " ")
		if r == slug && name != "" && (event == name || strings.HasPrefix(event, name+".")) {
			body, err := samples.ReadFile(path.Join("samples", slug, event+".json"))
			return body, event, err
		}
	}
	return nil, "", fmt.Errorf("no sample of %s is called %q; give a payload with -f, or send one of: %s",
		slug, name, strings.Join(sampleNames(), ", "))
}

// sampleNames lists the samples: "github pull_request.opened".
func sampleNames() []string {
	found, err := fs.Glob(samples, "samples/*/*.json")
	if err != nil {
		panic(err) // the pattern is wrong, and tests would know
	}
	for i, p := range found {
		found[i] = path.Base(path.Dir(p)) + " " + strings.TrimSuffix(path.Base(p), ".json")
	}
	return found
}

// post sends one webhook.
func (c *sendCmd) post(ctx context.Context, s *receiver.Source, name string, body []byte) (*answer, error) {
	to := c.URL
	if to == "" {
		to = sources.URL(c.Ingress, s)
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if c.File == "" {
		body = withNewID(body, c.ID)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, &exitError{err, exitUsage}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "belay-send")
	if h := s.EventHeader(); h != "" {
		// What follows the first dot is in the body: pull_request.opened.
		r.Header.Set(h, strings.SplitN(name, ".", 2)[0])
	}
	for name, value := range c.Header {
		r.Header.Set(name, value)
	}
	if h := idHeader(s); h != "" && c.ID != "" {
		r.Header.Set(h, c.ID)
	}
	if err := s.Sign(r, body, time.Now()); err != nil {
		return nil, err
	}
	return do(r)
}

// do sends the request and reads the answer.
func do(r *http.Request) (*answer, error) {
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	began := time.Now()
	resp, err := client.Do(r)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, fmt.Errorf("no answer from %s: %w; is belay serve --dev running, or is it another --url?", r.URL.Redacted(), err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer of %s broke off: %w", r.URL.Redacted(), err)
	}
	return &answer{
		URL:       r.URL.Redacted(),
		Status:    resp.StatusCode,
		EventID:   resp.Header.Get("Belay-Event-Id"),
		Duplicate: resp.Header.Get("Belay-Duplicate") == "true",
		Body:      strings.TrimSpace(string(body)),
		Millis:    float64(time.Since(began).Microseconds()) / 1000,
	}, nil
}

func (c *sendCmd) print(w io.Writer, a *answer, size int) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(a)
	}
	line := fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status))
	if a.EventID != "" {
		line += ", event " + a.EventID
	}
	if a.Duplicate {
		line += " (a duplicate: it was stored before, and is not stored again)"
	}
	line += fmt.Sprintf(", %d bytes to %s in %.1f ms", size, a.URL, a.Millis)
	if a.Body != "" {
		line += "\n" + a.Body
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

// idHeader is the header that the provider puts the delivery id into; empty if
// the id stands in the body.
func idHeader(s *receiver.Source) string {
	for _, template := range s.Receiver().ID {
		if name, ok := strings.CutPrefix(template, "{header:"); ok {
			return strings.TrimSuffix(name, "}")
		}
	}
	return ""
}

// withNewID gives a sample that carries its delivery id in the body (Stripe:
// evt_…) the wanted or a new one, so that the second of two is no duplicate.
func withNewID(body []byte, id string) []byte {
	var top struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(body, &top) != nil || !strings.HasPrefix(top.ID, "evt_") {
		return body
	}
	if id == "" {
		id = "evt_" + strings.ReplaceAll(event.NewID(), "-", "")
	}
	quoted, err := json.Marshal(id)
	if err != nil {
		return body
	}
	return bytes.Replace(body, []byte(`"`+top.ID+`"`), quoted, 1)
}
