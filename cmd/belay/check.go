package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/receiver"
)

type checkCmd struct {
	File    string `arg:"" optional:"" help:"The configuration file. Default: BELAY_CONFIG, or belay.yaml."`
	Config  string `default:"belay.yaml" hidden:""`
	Prefix  string `default:"/webhooks" help:"The path that all sources are under."`
	Secrets bool   `default:"true" negatable:"" env:"-" help:"Also check that every secret is there. --no-secrets where they are not, as in CI."`
	JSON    bool   `name:"json" env:"-" help:"Print the result as JSON."`
}

// Help shows how it is used.
func (*checkCmd) Help() string {
	return `It tells every problem with its line and ends with 1, or sums the file up:

  belay check
  belay check --no-secrets deploy/belay.yaml`
}

// summary is what a valid file sets up.
type summary struct {
	File     string    `json:"file"`
	Valid    bool      `json:"valid"`
	Problems []problem `json:"problems,omitempty"`
	Sources  []served  `json:"sources,omitempty"`
	Chains   []chain   `json:"chains,omitempty"`
}

type problem struct {
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Problem string `json:"problem"`
}

type served struct {
	Name     string   `json:"name"`
	Methods  []string `json:"methods"`
	Path     string   `json:"path"`
	Secrets  int      `json:"secrets"`
	MaxBody  int64    `json:"max_body"`
	BudgetMS int64    `json:"budget_ms"`
	HTTPS    bool     `json:"require_https"`
	Answer   string   `json:"answer,omitempty"` // the chain that answers the sender
}

type chain struct {
	Name     string   `json:"name"`
	From     []string `json:"from,omitempty"`
	Events   []string `json:"events,omitempty"`
	When     string   `json:"when,omitempty"`
	Handlers []step   `json:"handlers"`
}

type step struct {
	Order int    `json:"order"`
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	To    string `json:"to,omitempty"`
	When  string `json:"when,omitempty"`
}

// Run checks the file.
func (c *checkCmd) Run(_ context.Context, s streams) error {
	path := c.File
	if path == "" {
		path = c.Config
	}
	file, all, err := c.check(path)
	if file == nil {
		return err
	}
	if c.JSON {
		if e := printJSON(s.out, c.sum(path, file, all, err)); e != nil {
			return e
		}
	} else if err != nil {
		fmt.Fprintln(s.err, err)
	} else if e := c.sum(path, file, all, nil).print(s.out); e != nil {
		return e
	}
	if err != nil {
		return fmt.Errorf("%s is not valid: %d problem(s)", path, len(flatten(err)))
	}
	return nil
}

// check finds all that is wrong: with the file's shape, with its receivers and
// sources and, where the shape is right, with what else the roles know of its values.
func (c *checkCmd) check(path string) (*config.File, []*receiver.Source, error) {
	file, wrong := config.Load(path, config.Options{LookupEnv: os.LookupEnv})
	if file == nil {
		return nil, nil, wrong
	}
	errs := []error{wrong, sources.Canonical(file)}
	all, err := sources.Build(file)
	errs = append(errs, err)
	if wrong == nil {
		errs = append(errs, checkChains(file))
		if c.Secrets {
			errs = append(errs, file.CheckSecrets())
		}
	}
	problems := flatten(errors.Join(errs...))
	slices.SortStableFunc(problems, func(a, b error) int { return lineOf(a) - lineOf(b) })
	return file, all, errors.Join(problems...)
}

// lineOf is the line of the file that a problem is in; 0 if it has none.
func lineOf(err error) int {
	var at *config.Problem
	if errors.As(err, &at) {
		return at.Line
	}
	return 0
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

func (c *checkCmd) sum(path string, file *config.File, all []*receiver.Source, err error) *summary {
	sum := &summary{File: path, Valid: err == nil}
	for _, e := range flatten(err) {
		p := problem{Problem: e.Error()}
		var at *config.Problem
		if errors.As(e, &at) {
			p = problem{Line: at.Line, Column: at.Column, Problem: at.Err.Error()}
		}
		sum.Problems = append(sum.Problems, p)
	}
	if err != nil {
		return sum
	}
	for i, s := range all {
		one := served{
			Name: s.Name(), Methods: s.Methods(), Path: sources.URL(c.Prefix, s),
			Secrets: len(file.Sources[i].Secrets), MaxBody: s.MaxBody(), BudgetMS: s.Budget().Milliseconds(), HTTPS: s.RequiresHTTPS(),
		}
		if a := file.Sources[i].Answer; a != nil {
			one.Answer = a.Wait
		}
		sum.Sources = append(sum.Sources, one)
	}
	for i := range file.Chains {
		sum.Chains = append(sum.Chains, sumChain(&file.Chains[i]))
	}
	return sum
}

func sumChain(c *config.Chain) chain {
	out := chain{Name: c.Name, From: c.From, Events: c.Events, When: onLine(c.When)}
	for _, h := range c.Sorted() {
		s := step{Order: h.Order, Name: h.Name, Kind: h.Kind(), When: onLine(h.When)}
		switch {
		case h.HTTP != nil:
			s.To = h.HTTP.Target()
		case h.Notify != nil:
			s.To = h.Notify.Type
		case h.Publish != nil:
			s.To = h.Publish.Subject
		case h.Transform != nil && h.Transform.Keep != "":
			s.To = "the value " + h.Transform.Keep
		case h.Transform != nil:
			s.To = "the body"
		case h.Filter != "":
			s.To = onLine(h.Filter)
		case h.Respond != nil:
			s.To = "the sender"
		case h.Reply != nil:
			s.To = strings.Join(h.Reply.Hosts, ", ")
		}
		out.Handlers = append(out.Handlers, s)
	}
	return out
}

// print is the summary for people.
func (s *summary) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s is valid: %d source(s), %d chain(s)\n", s.File, len(s.Sources), len(s.Chains))
	for _, src := range s.Sources {
		fmt.Fprintf(w, "\nsource %s\t%s %s\t%d secret(s)\tbodies up to %d KiB\tanswers within %g s",
			src.Name, strings.Join(src.Methods, ","), src.Path, src.Secrets, src.MaxBody>>10, float64(src.BudgetMS)/1000)
		if src.HTTPS {
			fmt.Fprint(w, ", over HTTPS alone")
		}
		if src.Answer != "" {
			fmt.Fprintf(w, ", by the chain %s", src.Answer)
		}
	}
	if len(s.Sources) > 0 {
		fmt.Fprintln(w)
	}
	for _, c := range s.Chains {
		fmt.Fprintf(w, "\nchain %s: %s of %s%s\n", c.Name, orAll(c.Events, "all events"), orAll(c.From, "all sources"), condition(", when ", c.When))
		for _, h := range c.Handlers {
			fmt.Fprintf(w, "  %d\t%s\t%s\t%s%s\n", h.Order, h.Name, h.Kind, h.To, condition("\twhen ", h.When))
		}
	}
	return w.Flush()
}

// onLine is an expression on one line.
func onLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func condition(word, text string) string {
	if text == "" {
		return ""
	}
	return word + text
}

func orAll(list []string, all string) string {
	if len(list) == 0 {
		return all
	}
	return strings.Join(list, ", ")
}
