package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/belay-hooks/belay/internal/sources"
	"github.com/belay-hooks/belay/pkg/service"
)

// welcome is a component that waits until everything is up, and then says what
// runs where. With --dev it also subscribes the demo's subscriber, and says what
// to try.
func (n *node) welcome(out io.Writer) service.Component {
	return service.Func(func(ctx context.Context) error {
		if !n.waitReady(ctx) {
			return nil // told to stop before it was up
		}
		if n.demo != nil && n.outbox != nil {
			if err := n.demo.subscribe(ctx, n.outboxURL(), n.apiKey); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("subscribe the demo's subscriber: %w", err)
			}
		}
		n.Log.Info("belay serves", n.addresses()...)
		if n.demo != nil {
			fmt.Fprint(out, n.introduction())
		}
		<-ctx.Done()
		return nil
	})
}

// waitReady reports whether everything is up, or false when ctx ends before.
func (n *node) waitReady(ctx context.Context) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !n.Ops.Ready(ctx) {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return ctx.Err() == nil
}

func (n *node) addresses() []any {
	args := []any{"ops", n.Ops.Addr().String()}
	if n.ingress != nil {
		args = append(args, "ingress", n.ingress.Addr().String())
	}
	if n.outbox != nil {
		args = append(args, "outbox", n.outbox.Addr().String())
	}
	if n.console != nil {
		args = append(args, "console", n.console.Addr().String())
	}
	return args
}

// maxIntroduced is how many sources an introduction names.
const maxIntroduced = 2

// introduction is what a newcomer reads first.
func (n *node) introduction() string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("\nBelay runs, to be tried out: it keeps nothing unless told where, and its demo secrets are public.\n")
	if n.ingress != nil {
		for i, s := range n.sources {
			if i == maxIntroduced {
				say("               … and %d more: %s %s", len(n.sources)-i, programName(), n.listSources())
				break
			}
			say("  webhooks     %s", sources.URL(n.ingressURL(), s))
		}
	}
	if n.outbox != nil {
		say("  outbox API   %s/v1/subscriptions", n.outboxURL())
		say("  API key      %s", n.apiKey)
	}
	if n.console != nil {
		say("  console API  http://%s/v1/deadletters", dialable(n.console.Addr()))
	}
	say("  health       http://%s/readyz", dialable(n.Ops.Addr()))
	switch {
	case n.ingress == nil:
	case n.cmd.configGiven && len(n.sources) > 0:
		say("\nIn another terminal, send a webhook, signed with the secret of its source:\n")
		say("  %s send %s --config %s%s", programName(), n.sources[0].Name(), n.cmd.Config, n.ingressFlag())
	case !n.cmd.configGiven:
		say("\nIn another terminal, send a genuine GitHub webhook, signed as GitHub signs, and watch this one:\n")
		say("  %s send github pull_request%s", programName(), n.ingressFlag())
		say("\nWhat else there are samples of: %s send --list", programName())
	}
	if n.outbox != nil {
		say("\nThe subscriber in this process gets all notifications. To subscribe one of yours:\n")
		say("  curl -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' \\", n.apiKey)
		say("    -d '{\"url\": \"http://127.0.0.1:9000/hook\", \"filters\": [\"demo.*\"]}' %s/v1/subscriptions", n.outboxURL())
	}
	say("")
	return b.String()
}

func (n *node) outboxURL() string { return "http://" + dialable(n.outbox.Addr()) }

func (n *node) ingressURL() string {
	scheme := "http://"
	if n.cmd.TLSCert != "" {
		scheme = "https://"
	}
	return scheme + dialable(n.ingress.Addr()) + n.cmd.Prefix
}

// listSources is the command that lists them all.
func (n *node) listSources() string {
	if n.cmd.configGiven {
		return "check " + n.cmd.Config
	}
	return "receivers"
}

// ingressFlag is what send needs where it cannot know the address.
func (n *node) ingressFlag() string {
	if n.ingressURL() == sendIngress {
		return ""
	}
	return " --ingress " + n.ingressURL()
}

// dialable is an address that a person of this machine can call.
func dialable(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
	}
	return a.String()
}

// programName is how this program was called: go run builds it somewhere that
// nobody can type.
func programName() string {
	if strings.Contains(os.Args[0], "go-build") {
		return "go run ./cmd/belay"
	}
	if filepath.IsAbs(os.Args[0]) {
		return filepath.Base(os.Args[0])
	}
	return os.Args[0]
}
