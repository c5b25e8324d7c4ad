package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/receiver"
)

//go:generate sh -c "go run . receivers --markdown > ../../docs/receivers.md.new && mv ../../docs/receivers.md.new ../../docs/receivers.md"

type receiversCmd struct {
	Name     string `arg:"" optional:"" help:"The receiver to explain. Default: list them all."`
	Config   string `placeholder:"FILE" env:"-" help:"A configuration file, for the receivers that it declares."`
	Prefix   string `default:"/webhooks" help:"The path that all sources are under."`
	JSON     bool   `name:"json" env:"-" help:"Print JSON."`
	Markdown bool   `env:"-" hidden:"" help:"Print docs/receivers.md."`
}

// Help shows how it is used.
func (*receiversCmd) Help() string {
	return `It lists the providers that Belay knows, or says how to set one up:

  belay receivers
  belay receivers github
  belay receivers acme --config belay.yaml`
}

// Run lists the receivers, or explains one.
func (c *receiversCmd) Run(_ context.Context, s streams) error {
	known, err := c.known()
	if err != nil {
		return err
	}
	if c.Name != "" {
		r, ok := known.Lookup(c.Name)
		if !ok {
			return unknownReceiver(known, c.Name)
		}
		if c.JSON {
			return printJSON(s.out, r.Summary())
		}
		return c.explain(s.out, r)
	}
	all := make([]receiver.Summary, 0, len(known.Names()))
	for _, name := range known.Names() {
		r, _ := known.Lookup(name)
		all = append(all, r.Summary())
	}
	switch {
	case c.JSON:
		return printJSON(s.out, all)
	case c.Markdown:
		return writeMarkdown(s.out, all)
	}
	return list(s.out, all)
}

// known are the receivers of the catalogue, and of the configuration file.
func (c *receiversCmd) known() (*receiver.Catalogue, error) {
	if c.Config == "" {
		return receiver.Builtin(), nil
	}
	file, err := config.Load(c.Config, config.Options{Dev: true, LookupEnv: os.LookupEnv})
	if err != nil {
		return nil, err
	}
	return sources.Catalogue(file)
}

// list is the table for people.
func list(out io.Writer, all []receiver.Summary) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tTITLE\tSCHEME\tHANDSHAKE\tID\tEVENT\tTIME-OUT\tLINK")
	for _, s := range all {
		fmt.Fprintln(w, strings.Join([]string{
			s.Name, s.Title, s.Scheme, orDash(s.Handshake), orDash(s.ID), orDash(s.Event), orDash(s.Timeout), s.Docs,
		}, "\t"))
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// explain says what a receiver does, and how to set it up.
func (c *receiversCmd) explain(out io.Writer, r *receiver.Receiver) error {
	s := r.Summary()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\n%s\n\n", s.Title, cmp.Or(s.Docs, "declared in "+c.Config))
	for _, row := range [][2]string{
		{"names", strings.Join(append([]string{s.Name}, s.Aliases...), ", ")},
		{"scheme", s.Scheme},
		{"tolerance", s.Replay},
		{"https", map[bool]string{true: "required, as the secret itself is sent; require_https: false does without"}[s.HTTPS]},
		{"secret", secretFormat(r)},
		{"handshake", s.Handshake},
		{"delivery id", s.ID},
		{"event", s.Event},
		{"time-out", s.Timeout},
		{"content", strings.Join(r.ContentTypes, ", ")},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
		}
	}
	for _, limit := range r.Limits {
		fmt.Fprintf(w, "limit\t%s\n", limit)
	}
	for _, name := range r.ParamNames() {
		p := r.Params[name]
		about := p.About
		if len(p.Allowed) > 0 {
			about += " (" + strings.Join(p.Allowed, ", ") + ")"
		}
		if p.Default != "" {
			about += "; default: " + p.Default
		}
		fmt.Fprintf(w, "params.%s\t%s\n", name, about)
	}
	fmt.Fprintln(w, "\nHow to set it up:")
	for i, step := range c.steps(r) {
		fmt.Fprintf(w, "\n%d. %s\n", i+1, step)
	}
	return w.Flush()
}

// steps are those of the receiver's file between those that are ours.
func (c *receiversCmd) steps(r *receiver.Receiver) []string {
	variable := strings.ToUpper(strings.ReplaceAll(r.Slug, "-", "_")) + "_SECRET"
	source := fmt.Sprintf("Give Belay a source, and the secret in its environment:\n\n"+
		"   sources:\n     - receiver: %s\n       secrets: [env:%s]", r.Slug, variable)
	var needed string
	for _, name := range r.ParamNames() {
		if p := r.Params[name]; p.Default == "" && r.Slug != "generic" {
			needed += fmt.Sprintf("\n         %s: … # %s", name, p.About)
		}
	}
	if needed != "" {
		source += "\n       params:" + needed
	}
	url := "https://YOUR-HOST" + strings.TrimSuffix(c.Prefix, "/") + "/" + r.Slug
	steps := []string{source}
	if len(r.Setup) == 0 {
		steps = append(steps,
			strings.TrimSuffix(fmt.Sprintf("At the provider, enter the URL %s and the secret (%s).\n   How: %s", url, secretFormat(r), r.Docs), "\n   How: "))
	}
	for _, step := range r.Setup {
		steps = append(steps, strings.ReplaceAll(step, "{url}", url))
	}
	if r.Summary().Handshake != "" {
		steps = append(steps, "The provider tries the URL out ("+r.Summary().Handshake+"): Belay must run by then. It answers by itself.")
	}
	return append(steps, "Send an event, and see it in the log of Belay: a refused one says why.")
}

// secretFormat is what a secret looks like.
func secretFormat(r *receiver.Receiver) string {
	if r.About != "" {
		return r.About
	}
	switch r.Signatures[0].Secret {
	case "hex":
		return "a key in hex, as the provider shows it"
	case "base64":
		return "a key in base64, as the provider shows it"
	case "whsec-base64":
		return "whsec_ and base64, as the provider shows it"
	case "pem":
		return "a public key in PEM"
	}
	return "the text of the secret"
}

// writeMarkdown is docs/receivers.md.
func writeMarkdown(out io.Writer, all []receiver.Summary) error {
	var b strings.Builder
	fmt.Fprintf(&b, `# Receivers

<!-- Generated from pkg/receiver/catalogue by go generate ./cmd/belay. Do not edit. -->

The %d providers whose webhooks Belay verifies, names and answers. Each is one file in
[pkg/receiver/catalogue](../pkg/receiver/catalogue), in a form that `+"`pkg/receiver.Form`"+` documents;
`+"`belay receivers github`"+` says how to set one up. What each was compared with, and what it leaves out: [receivers-evidence.md](receivers-evidence.md).

- **Scheme**: how a request is proven, and how far the signed time may be off.
- **Handshake**: how the provider tries the URL out. Belay answers.
- **Id**: the delivery id, the same in every retry, which duplicates are found by. Without one each request is an event of its own.
- **Event**: the name of the event, after the receiver's. Without one all events have that of the receiver.
- **Time-out**: how long the provider waits for an answer, where that is documented.

| Receiver | Provider | Scheme | Handshake | Id | Event | Time-out |
| --- | --- | --- | --- | --- | --- | --- |
`, len(all))
	for _, s := range all {
		name, scheme := "`"+s.Name+"`", s.Scheme
		for _, alias := range s.Aliases {
			name += ", `" + alias + "`"
		}
		if s.Replay != "" {
			scheme += ", ±" + s.Replay
		}
		fmt.Fprintf(&b, "| %s | [%s](%s) | %s | %s | %s | %s | %s |\n",
			name, s.Title, s.Docs, scheme, s.Handshake, code(s.ID), code(s.Event), s.Timeout)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// code writes templates as such.
func code(templates string) string {
	if templates == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(templates, " or ", "` or `") + "`"
}
