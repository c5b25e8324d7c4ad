// Command belay is all of Belay in one program, and its tools: it serves, sends
// signed webhooks, checks a configuration, and sets a broker up.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"

	"github.com/alecthomas/kong"

	"github.com/belay-hooks/belay/pkg/client"
	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/service"
)

// The exit codes.
const (
	exitFailed = 1 // it did not work, or what was asked about is not right
	exitUsage  = 2 // the command line is wrong
)

// exitError is an error with an exit code of its own.
type exitError struct {
	error
	code int
}

// ExitCode is what the process ends with.
func (e *exitError) ExitCode() int { return e.code }

// Unwrap is the error without the code.
func (e *exitError) Unwrap() error { return e.error }

// cli is the command line: one field a verb, each in a file of its own.
type cli struct {
	Serve         serveCmd         `cmd:"" help:"Run everything in one process: ingress, worker, outbox and the broker."`
	Send          sendCmd          `cmd:"" help:"Send a webhook, signed as the provider signs."`
	Check         checkCmd         `cmd:"" help:"Check a configuration file."`
	Verify        verifyCmd        `cmd:"" help:"Say whether a captured request verifies and, where not, why."`
	Bench         benchCmd         `cmd:"" help:"Measure this machine, under load."`
	Subscriptions subscriptionsCmd `cmd:"" help:"List and change who is told of notifications."`
	Notify        notifyCmd        `cmd:"" help:"Tell subscribers of an event."`
	Deliveries    deliveriesCmd    `cmd:"" help:"Look at what became of notifications; retry, cancel, redrive or recover."`
	Keys          keysCmd          `cmd:"" help:"List, make and revoke keys of the outbox API."`
	Keyset        keysetCmd        `cmd:"" help:"Make or rotate the keyset that secrets are encrypted with."`
	Migrate       migrateCmd       `cmd:"" help:"Create or update the streams and buckets on a NATS server."`
	Deadletters   deadlettersCmd   `cmd:"" help:"Look at what was given up; redrive or discard it."`
	Replay        replayCmd        `cmd:"" help:"Let a chain handle stored events again."`
	Events        eventsCmd        `cmd:"" help:"Look at a stored event."`
	Erase         eraseCmd         `cmd:"" help:"Erase all that is kept of one event."`
	Chains        chainsCmd        `cmd:"" help:"Look at the chains and their backlogs; pause, resume or delete one."`
	Sources       sourcesCmd       `cmd:"" help:"Look at the sources; switch one off or on."`
	Jobs          jobsCmd          `cmd:"" help:"Look at, pause and cancel the work over many events."`
	New           newCmd           `cmd:"" help:"Write a new project."`
	Receivers     receiversCmd     `cmd:"" help:"List the providers that Belay knows, or explain how to set one up."`
	Schema        schemaCmd        `cmd:"" help:"Print the JSON schema of the configuration file, or of a receiver, for editors."`
	Version       versionCmd       `cmd:"" help:"Print the version."`
}

// streams are where a verb writes: what was asked for, and everything else.
type streams struct{ out, err io.Writer }

func main() {
	service.Main("belay", func(ctx context.Context) error {
		return run(ctx, os.Args[1:], streams{out: forPeople(os.Stdout), err: os.Stderr})
	})
}

// run parses the command line and runs its verb.
func run(ctx context.Context, args []string, s streams) error {
	// Help ends the parser's work, by a call of its Exit. The panic takes it out
	// of there without ending the process.
	type helped struct{}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(helped); !ok {
				panic(r)
			}
		}
	}()
	parser, err := kong.New(&cli{},
		kong.Name("belay"),
		kong.Description("Hold the rope: a webhook that was answered 2xx is never dropped.\n\nTry it: belay serve --dev"),
		kong.DefaultEnvars(config.EnvPrefix),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(s.out, s.err),
		kong.Exit(func(int) { panic(helped{}) }),
		kong.TypeMapper(reflect.TypeFor[config.Redacted](), kong.MapperFunc(redacted)),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(s),
		kong.Vars{"ingress": sendIngress},
	)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		var bad *kong.ParseError
		if errors.As(err, &bad) {
			err = fmt.Errorf("%w (see %s --help)", err, verb(bad.Context))
		}
		return &exitError{err, exitUsage}
	}
	err = parsed.Run()
	if refused, ok := errors.AsType[*client.Problem](err); ok && refused.Status == http.StatusUnauthorized {
		return fmt.Errorf("%w; %s --help says how to give it", err, verb(parsed))
	}
	if _, ok := errors.AsType[*net.OpError](err); ok && errors.As(err, new(*url.Error)) && ctx.Err() == nil {
		return fmt.Errorf("%w; is Belay running there? %s --help says how to name another address", err, verb(parsed))
	}
	return err
}

// redacted reads a secret flag. The parser's own way would repeat a value that
// it cannot read in its error.
func redacted(c *kong.DecodeContext, target reflect.Value) error {
	return c.Scan.PopValueInto("secret", target.Addr().Interface())
}

// verb is the verb of a command line, as far as it could be parsed.
func verb(c *kong.Context) string {
	if c != nil && c.Selected() != nil {
		return c.Selected().FullPath()
	}
	return "belay"
}

// given reports whether a person has set the flag, on the command line or in the
// environment.
func given(c *kong.Context, name string) bool {
	for _, p := range c.Path {
		if p.Flag != nil && p.Flag.Name == name {
			return true
		}
	}
	for _, f := range c.Flags() {
		if f.Name != name {
			continue
		}
		for _, env := range f.Envs {
			if _, ok := os.LookupEnv(env); ok {
				return true
			}
		}
	}
	return false
}
