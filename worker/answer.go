package worker

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/handler"
	"github.com/belay-hooks/belay/pkg/stream"
)

// answer tells the sender of the event, where it waits for this chain, what the
// chain says to it. It does so before the outcome is stored: the sender's time is
// short, and what it is told does not depend on that.
//
//	responded        the Response
//	done, dead       nothing: the sender gets the plain answer at once
//	again, later     nothing
//	again, soon      not yet: the next attempt may be in time
//	interrupted      not yet: another worker may be in time
func (r *runner) answer(ctx context.Context, t *task, o outcome) {
	switch {
	case o.kind == interrupted, o.kind == again && o.wait <= r.config.ShortRetry:
		return
	case o.response != nil:
		r.say(ctx, t, answerOf(o.response))
	default:
		r.say(ctx, t, stream.Answer{})
	}
}

// say sends the answer to who waits for it, if somebody does.
func (r *runner) say(ctx context.Context, t *task, a stream.Answer) {
	if err := r.config.Broker.Answer(t.held, r.chain.Name, a); err != nil {
		r.log.LogAttrs(ctx, slog.LevelWarn, "the sender does not get the chain's answer",
			slog.Int("shard", t.Shard), slog.Uint64("seq", t.Seq), slog.Any("error", err))
	}
}

func answerOf(r *handler.Response) stream.Answer {
	a := stream.Answer{Status: r.Status, Header: r.Header, Body: r.Body}
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	return a
}

// switchOff switches the source of an event off whose chain says that nothing is
// there any more for what it sends, where the source lets it: see
// [handler.Chain.SwitchOff].
func (r *runner) switchOff(ctx context.Context, t *task, o outcome) error {
	if o.response == nil || o.response.Status != http.StatusGone {
		return nil
	}
	source := t.event.Receiver + "/" + t.event.SourceID
	if !slices.Contains(r.chain.SwitchOff, source) {
		return nil
	}
	return stream.WaitOut(ctx, func() error {
		_, err := standing.Off.Set(ctx, r.config.Broker, source, standing.Switch{
			By: "chain " + r.chain.Name, Why: "handler " + o.handler + " answered 410 to the event " + t.event.ID, At: time.Now().UTC(),
		})
		return err
	})
}
