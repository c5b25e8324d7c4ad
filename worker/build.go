package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
)

// Chains makes the chains of a configuration file, with the handlers that need
// no code. An error names the field: [config.File.Locate] finds its line. The
// broker may be nil if the chains are only to be checked.
func Chains(file *config.File, b *stream.Broker, log *slog.Logger) ([]handler.Chain, error) {
	client := newHTTPClient()
	var problems []error
	chains := make([]handler.Chain, 0, len(file.Chains))
	for i := range file.Chains {
		c := &file.Chains[i]
		path := fmt.Sprintf("chains[%d]", i)
		chain := handler.Chain{
			Name: c.Name, From: c.From, Events: c.Events,
			Earliest: c.Start == "earliest", Concurrency: c.Concurrency,
			Checkpoint: c.Checkpoint == config.CheckpointAlways,
			Ordered:    c.Ordered, MaxWaiting: c.MaxWaiting, MaxWaitingBytes: c.MaxWaitingBytes,
			SwitchOff: file.SwitchedOffBy(c.From),
		}
		chain.Since, _ = c.StartTime()
		chain.Retry = policy(c.Retry)
		var err error
		if chain.When, err = newCondition("when", c.When); err != nil {
			problems = append(problems, under(path, err))
		}
		for j := range c.Handlers {
			h := &c.Handlers[j]
			step, err := newStep(c.Name, h, client, b, log)
			if err != nil {
				problems = append(problems, under(fmt.Sprintf("%s.handlers[%d]", path, j), err))
				continue
			}
			chain.Steps = append(chain.Steps, step)
		}
		if err := chain.Validate(); err != nil && len(chain.Steps) == len(c.Handlers) {
			problems = append(problems, &config.FieldError{Path: path, Want: err.Error()})
		}
		chains = append(chains, chain)
	}
	return chains, errors.Join(problems...)
}

// policy is a retry policy of the file; without one it is the zero value.
func policy(r *config.Retry) handler.Retry {
	if r == nil {
		return handler.Retry{}
	}
	return handler.Retry{
		Attempts: r.Attempts, First: r.First.Std(), Factor: r.Factor,
		Max: r.Max.Std(), Jitter: r.Jitter, GiveUp: r.GiveUp.Std(),
	}
}

func newStep(chain string, h *config.Handler, client *http.Client, b *stream.Broker, log *slog.Logger) (handler.Step, error) {
	step := handler.Step{
		Order: h.Order, Name: h.Name, From: h.From, Timeout: h.Timeout.Std(),
		Checkpoint: h.Checkpoint == config.CheckpointAlways, Retry: policy(h.Retry),
	}
	var err error
	if step.When, err = newCondition("when", h.When); err != nil {
		return step, err
	}
	switch {
	case h.HTTP != nil:
		// The step's own time-out covers the request's.
		if request := h.HTTP.Timeout.Std(); step.Timeout == 0 {
			step.Timeout = request + time.Second
		}
		step.Handler, err = newHTTP(h.HTTP, client)
	case h.Notify != nil:
		step.Handler, err = newNotify(h.Notify, chain, b)
	case h.Publish != nil:
		step.Handler, err = newPublish(h.Publish)
	case h.Transform != nil:
		step.Handler, err = newTransform(h.Transform)
	case h.Filter != "":
		step.Handler, err = newFilter(h.Filter)
	case h.Respond != nil:
		step.Handler, err = newRespond(h.Respond)
	case h.Reply != nil:
		r := h.Reply
		step.Handler, err = Reply(ReplyConfig{
			To: r.To, Hosts: r.Hosts, ContentType: r.ContentType, Body: r.Body, Value: r.Value, Tenant: r.Tenant,
		})
	case h.Log != nil:
		step.Handler, err = newLog(h.Log, log.With("chain", chain, "handler", h.Name))
	default:
		err = errors.New("want one of " + strings.Join(config.Kinds(), ", "))
	}
	return step, err
}

// under is the error of something in a chain or handler, with the whole path.
func under(path string, err error) error {
	if field := (*config.FieldError)(nil); errors.As(err, &field) {
		return &config.FieldError{Path: path + "." + field.Path, Value: field.Value, Want: field.Want, Mark: field.Mark}
	}
	return &config.FieldError{Path: path, Want: err.Error()}
}
