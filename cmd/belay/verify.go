package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/belay-hooks/belay/internal/capture"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/receiver"
)

// maxCapture is more than any provider sends: GitHub stops at 25 MB.
const maxCapture = 64 << 20

type verifyCmd struct {
	Receiver string            `arg:"" help:"The provider, such as github, or one of the sources of the configuration file: github/eu."`
	File     string            `arg:"" optional:"" help:"The captured request: as it was sent, as curl -v shows it, or a HAR file; - for standard input."`
	Body     string            `placeholder:"FILE" env:"-" help:"Instead of a captured request: a file with the body alone; - for standard input."`
	Method   string            `env:"-" help:"The method, instead of the capture's. Default: POST."`
	URL      string            `name:"url" env:"-" help:"The URL that the provider called, instead of the capture's."`
	Header   headerFlags       `short:"H" sep:"none" placeholder:"'NAME: VALUE'" env:"-" help:"A header, instead of the capture's."`
	Secret   string            `placeholder:"REF" env:"-" help:"The secret: env:NAME, file:PATH, or - to be asked for it. Without it, those of the source in the configuration."`
	Params   map[string]string `name:"param" placeholder:"NAME=VALUE" env:"-" help:"With --secret: a parameter of the receiver, such as header=X-Signature of generic."`
	Config   string            `placeholder:"FILE" help:"The configuration file with the source, or with the receiver. Without it, those of serve --dev."`
	At       string            `placeholder:"TIME" env:"-" help:"When it came: 2026-11-22T10:00:00Z, or seconds since 1970. Default: now."`
	JSON     bool              `name:"json" env:"-" help:"Print the result as JSON."`

	configGiven bool
	stdin       io.Reader
}

// Help shows how it is used.
func (*verifyCmd) Help() string {
	return `It says whether a captured request verifies and, where not, why. It ends with
0 if it does, with 1 if it does not, and with 2 if it could not be looked at.

  belay verify github request.txt --secret env:GITHUB_SECRET
  belay verify stripe/eu request.har --config belay.yaml --at 2026-11-22T10:00:00Z
  belay verify slack --body body.json -H 'X-Slack-Signature: v0=…' \
      -H 'X-Slack-Request-Timestamp: 1795341600' --secret file:slack.secret

A capture is a request line, headers, an empty line and the body, byte for byte.
Nothing that it prints is a secret or could be used as a signature.`
}

// AfterApply notes what was given.
func (c *verifyCmd) AfterApply(k *kong.Context) error {
	c.configGiven, c.stdin = given(k, "config"), os.Stdin
	return nil
}

// verdict is what came of it.
type verdict struct {
	Source   string              `json:"source"`
	Verifies bool                `json:"verifies"`
	Reason   receiver.Reason     `json:"reason,omitempty"`
	Detail   string              `json:"detail,omitempty"`
	Found    *receiver.Diagnosis `json:"diagnosis,omitempty"`
	Becomes  string              `json:"becomes,omitempty"`
	ID       string              `json:"id,omitempty"`
	Event    string              `json:"event,omitempty"`
	Key      string              `json:"key,omitempty"`
	Steps    []receiver.Step     `json:"steps"`
	Notes    []string            `json:"notes,omitempty"`
}

// Run verifies.
func (c *verifyCmd) Run(_ context.Context, s streams) error {
	at, err := c.time()
	if err != nil {
		return &exitError{err, exitUsage}
	}
	in, err := c.request()
	if err != nil {
		return &exitError{err, exitUsage}
	}
	source, others, err := c.source(s.err)
	if err != nil {
		return &exitError{err, exitUsage}
	}
	if c.Secret == "" && !c.configGiven {
		in.Notes = append(in.Notes, "the secret is that of serve --dev; give --secret or --config for yours")
	}
	v := judge(source, others, in, at)
	if c.JSON {
		err = printJSON(s.out, v)
	} else {
		err = v.print(s.out)
	}
	if err == nil && !v.Verifies {
		err = fmt.Errorf("the request does not verify: %s", cmp.Or(string(v.Reason), "it would not be looked at"))
	}
	return err
}

// judge does what an ingress would do, and looks into what it refuses.
func judge(s *receiver.Source, others []*receiver.Source, in *capture.Request, at time.Time) *verdict {
	v := &verdict{Source: s.Name(), Notes: in.Notes, Steps: s.Explain(in.HTTP, in.Body, at)}
	for _, step := range v.Steps {
		if !step.OK && (step.Name == "method" || step.Name == "content type") {
			v.Notes = append(v.Notes, "an ingress refuses this "+step.Name+" before it verifies anything")
		}
	}
	got, err := s.Receive(in.HTTP, in.Body, at)
	if refusal, ok := errors.AsType[*receiver.Refusal](err); ok {
		d := s.Diagnose(receiver.Case{Request: in.HTTP, Body: in.Body, Now: at, Refusal: refusal, Others: others})
		v.Reason, v.Detail, v.Found = refusal.Reason, refusal.Detail, &d
		return v
	}
	v.Verifies, v.Becomes = len(v.Notes) == len(in.Notes), "a ping or a handshake, which is answered and not stored"
	if e := got.Event; e != nil {
		v.Becomes, v.ID, v.Event, v.Key = "an event", e.ID, e.Type, e.Key
	}
	return v
}

// time is when the request came.
func (c *verifyCmd) time() (time.Time, error) {
	if c.At == "" {
		return time.Now(), nil
	}
	if n, err := strconv.ParseInt(c.At, 10, 64); err == nil {
		return time.Unix(n, 0), nil
	}
	at, err := time.Parse(time.RFC3339, c.At)
	if err != nil {
		return at, fmt.Errorf("--at is %q, want a time such as 2026-11-22T10:00:00Z, or seconds since 1970", c.At)
	}
	return at, nil
}

// request is the capture, with what the flags say of it.
func (c *verifyCmd) request() (*capture.Request, error) {
	if (c.File == "") == (c.Body == "") {
		return nil, errors.New("want a captured request, or --body with its headers; see belay verify --help")
	}
	if c.Secret == "-" && (c.File == "-" || c.Body == "-") {
		return nil, errors.New("standard input cannot be both the request and the secret: give one of them as a file")
	}
	text, err := c.read(cmp.Or(c.File, c.Body))
	if err != nil {
		return nil, err
	}
	var in *capture.Request
	if c.File != "" {
		in, err = capture.Parse(text)
	} else {
		in, err = capture.New(cmp.Or(c.Method, http.MethodPost), cmp.Or(c.URL, "https://example.com/"), text)
	}
	if err != nil {
		return nil, err
	}
	return in, c.override(in.HTTP)
}

func (c *verifyCmd) override(r *http.Request) error {
	r.Method = cmp.Or(c.Method, r.Method)
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Host == "" {
			return errors.New("--url is no URL, want the whole one that the provider called: https://hooks.example.com/webhooks/github")
		}
		r.URL, r.Host = u, u.Host
	}
	return c.Header.set(r.Header)
}

func (c *verifyCmd) read(path string) ([]byte, error) {
	in := c.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("the request: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxCapture+1))
	if err == nil && len(text) > maxCapture {
		err = fmt.Errorf("the request is over %d bytes", maxCapture)
	}
	return text, err
}

// source is what verifies, and the others whose secret it might be.
func (c *verifyCmd) source(prompt io.Writer) (*receiver.Source, []*receiver.Source, error) {
	choice := sourceChoice{name: c.Receiver, params: c.Params}
	if c.configGiven {
		choice.config = c.Config
	}
	var err error
	if choice.secret, err = c.secret(prompt); err != nil {
		return nil, nil, err
	}
	if choice.secret == nil && len(c.Params) > 0 {
		return nil, nil, errors.New("--param goes with --secret: a source of the configuration has parameters of its own")
	}
	return choice.source()
}

// typed is a secret that somebody has typed.
type typed string

// Value is the secret.
func (t typed) Value() (string, error) { return string(t), nil }

// secret reads the reference; nil if there is none.
func (c *verifyCmd) secret(prompt io.Writer) (receiver.Secret, error) {
	ref := c.Secret
	switch {
	case ref == "":
		return nil, nil
	case ref == "-":
		fmt.Fprint(prompt, "secret: ")
		line, err := bufio.NewReader(io.LimitReader(c.stdin, 64<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return nil, errors.New("no secret was given")
		}
		return typed(line), nil
	case strings.HasPrefix(ref, "file:"):
		path, err := filepath.Abs(strings.TrimPrefix(ref, "file:"))
		if err != nil {
			return nil, err
		}
		ref = "file:" + path
	case !strings.HasPrefix(ref, "env:"):
		return nil, errors.New("--secret: want env:NAME, file:PATH, or - to be asked for it; on the command line a secret stays in the shell's history")
	}
	secret, err := config.NewSecret(ref, config.Options{LookupEnv: os.LookupEnv})
	if err != nil {
		return nil, fmt.Errorf("--secret: %w", err)
	}
	if _, err := secret.Value(); err != nil {
		return nil, err
	}
	return secret, nil
}

// print is the result for people.
func (v *verdict) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, step := range v.Steps {
		fmt.Fprintf(w, "%s\t%s\t%s\n", map[bool]string{true: "ok", false: "no"}[step.OK], step.Name, step.Saw)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, note := range v.Notes {
		fmt.Fprintln(out, "\nNote: "+note+".")
	}
	var err error
	switch {
	case v.Found != nil:
		_, err = fmt.Fprintf(out, "\n%s does not verify: %s (%s).\n\nWhy: %s (%s).\n\nWhat to do: %s\n",
			v.Source, v.Detail, v.Reason, v.Found.Detail, v.Found.Cause, v.Found.Advice)
	case !v.Verifies:
		_, err = fmt.Fprintf(out, "\n%s would verify, but an ingress does not take it: see the notes.\n", v.Source)
	case v.Event != "":
		_, err = fmt.Fprintf(out, "\n%s verifies: the event %s, id %s, key %s.\n", v.Source, v.Event, v.ID, orDash(v.Key))
	default:
		_, err = fmt.Fprintf(out, "\n%s verifies: %s.\n", v.Source, v.Becomes)
	}
	return err
}
