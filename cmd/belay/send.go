package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sync/errgroup"

	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/receiver/samples"
)

const (
	// sendIngress is where serve --dev receives.
	sendIngress = "http://127.0.0.1:8080/webhooks"
	// maxInFlight bounds the requests that wait for an answer, with --rate.
	maxInFlight = 64
	// minRate and maxRate bound how many are sent a second: the time between two is
	// one that the clock has.
	minRate, maxRate = 0.001, 1e6
)

type sendCmd struct {
	Receiver string            `arg:"" optional:"" help:"The provider, such as github, or one of its sources: github/eu."`
	Event    string            `arg:"" optional:"" help:"The event, such as pull_request. Default: the first sample of the receiver."`
	List     bool              `env:"-" help:"List the samples that there are, of the receiver or of all."`
	File     string            `short:"f" placeholder:"FILE" env:"-" help:"The payload; - for standard input. Without it, a sample."`
	URL      string            `name:"url" env:"-" help:"Where to. Default: the source's URL at --ingress."`
	Ingress  string            `default:"${ingress}" env:"-" help:"Where the ingress is, prefix included."`
	CA       string            `name:"ca" placeholder:"FILE" env:"-" help:"The certificates, in PEM, of who vouches for an ingress with TLS. Default: the system's."`
	Config   string            `placeholder:"FILE" help:"The configuration file with the source, for its secret and parameters. Without it, those of serve --dev."`
	Secret   config.Redacted   `placeholder:"SECRET" env:"-" help:"The secret to sign with: env:NAME, file:/path, or the secret."`
	Params   map[string]string `name:"param" placeholder:"NAME=VALUE" env:"-" help:"A parameter of the receiver, such as header=X-Signature of generic."`
	Header   headerFlags       `short:"H" sep:"none" placeholder:"'NAME: VALUE'" env:"-" help:"A header to send along."`
	ID       string            `name:"id" env:"-" help:"The delivery id, to repeat a delivery. Default: a new one each time."`
	Count    int               `default:"1" env:"-" help:"How often to send."`
	Rate     float64           `env:"-" help:"How many to send a second. Default: one after another, each when the one before is answered."`
	JSON     bool              `name:"json" env:"-" help:"Print one JSON object for each answer."`

	configGiven bool
	client      *http.Client
}

// Help shows how it is used.
func (*sendCmd) Help() string {
	return `With belay serve --dev running, which takes the webhooks of every receiver:

  belay send --list
  belay send github pull_request
  belay send slack --count 100 --rate 20
  belay send stripe charge.succeeded --json
  belay send github push -f payload.json

To a Belay of your own, with its configuration or with a secret:

  belay send github push --config belay.yaml --ingress https://hooks.example.com/webhooks
  belay send generic order --secret env:SHOP_SECRET --param header=X-Shop-Signature \
      -f order.json --url https://127.0.0.1:8443/webhooks/generic/shop --ca ca.pem`
}

// AfterApply notes what was given.
func (c *sendCmd) AfterApply(k *kong.Context) error {
	c.configGiven = given(k, "config")
	return nil
}

// Run sends, or lists what there is to send.
func (c *sendCmd) Run(ctx context.Context, s streams) error {
	if c.List {
		return c.list(s.out)
	}
	send, err := c.prepare()
	if err != nil {
		return &exitError{err, exitUsage}
	}
	refused, err := c.send(ctx, s.out, send)
	if err == nil && refused > 0 {
		err = fmt.Errorf("%d of %d webhooks were not accepted; the log of the ingress says why%s", refused, c.Count, c.signer())
	}
	return err
}

// signer tells whose secret was signed with, where nobody has said so.
func (c *sendCmd) signer() string {
	if c.configGiven || c.Secret != "" {
		return ""
	}
	return ". They were signed for the demo of serve --dev: --config or --secret says with what else"
}

// prepare checks the flags and finds what to send: each call makes a new request.
func (c *sendCmd) prepare() (newRequest, error) {
	switch {
	case c.Receiver == "":
		return nil, fmt.Errorf("as which provider? belay send github, or one of belay send --list")
	case c.Count < 1:
		return nil, fmt.Errorf("--count is %d, want 1 or more", c.Count)
	case c.Rate < 0 || c.Rate > 0 && c.Rate < minRate || c.Rate > maxRate:
		return nil, fmt.Errorf("--rate is %g, want %g to %g", c.Rate, minRate, maxRate)
	}
	var err error
	if c.client, err = newClient(c.CA); err != nil {
		return nil, err
	}
	source, err := c.source()
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(c.to(source)); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		flag := "--ingress"
		if c.URL != "" {
			flag = "--url"
		}
		return nil, fmt.Errorf("%s is no whole URL, want one such as http://127.0.0.1:8080/webhooks", flag)
	}
	return c.payload(source)
}

// send sends them all, and counts those that were not accepted.
func (c *sendCmd) send(ctx context.Context, out io.Writer, next newRequest) (refused int, err error) {
	var printing sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	wait := func() {}
	group.SetLimit(1)
	if c.Rate > 0 {
		group.SetLimit(maxInFlight)
		tick := time.NewTicker(time.Duration(float64(time.Second) / c.Rate))
		defer tick.Stop()
		wait = func() {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}
	for i := range c.Count {
		if i > 0 {
			wait()
		}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			a, size, err := c.post(ctx, next)
			if err != nil {
				return err
			}
			printing.Lock()
			defer printing.Unlock()
			if !a.ok() {
				refused++
			}
			return c.print(out, a, size)
		})
	}
	return refused, group.Wait()
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

// list prints the samples, a line each.
func (c *sendCmd) list(out io.Writer) error {
	slugs := samples.Receivers()
	if c.Receiver != "" {
		r, ok := receiver.Lookup(c.Receiver)
		if !ok {
			return &exitError{unknownReceiver(receiver.Builtin(), c.Receiver), exitUsage}
		}
		slugs = []string{r.Slug}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, slug := range slugs {
		for _, s := range samples.Of(slug) {
			about := s.Type
			if s.Unstored {
				about = "answered, not stored"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", slug, s.Event, about)
		}
	}
	return w.Flush()
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
