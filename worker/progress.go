package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// progress is where a chain stands in an event that it has not handled in one
// go. It is kept in the bucket PROGRESS from the first failure on.
type progress struct {
	// Next is the step to resume at. It is found by its name or, where the chain
	// has lost it, by its order.
	Next  string `json:"next"`
	Order int    `json:"order"`
	// Failed counts the failed attempts of Next.
	Failed int `json:"failed"`
	// Total counts the attempts of all steps.
	Total int `json:"total"`
	// Turn counts how often the event was parked. From the first time on it is in
	// RETRY, and what brings it back carries its turn: a message of an earlier one
	// is stale, and so is that of IN.
	Turn int `json:"turn"`
	// Until is when the turn is due.
	Until time.Time `json:"until,omitzero"`
	// Values that the finished steps have left.
	Values event.Values `json:"values,omitempty"`
	// Failures are the last ones, oldest first.
	Failures []failure `json:"failures,omitempty"`
	// Outcome is set when the chain has ended.
	Outcome outcomeKind `json:"outcome,omitempty"`
}

// failure is one failed attempt.
type failure struct {
	Handler string    `json:"handler"`
	Attempt int       `json:"attempt"`
	Time    time.Time `json:"time"`
	Error   string    `json:"error"`
}

const (
	keptFailures  = 20   // of one event
	maxErrorBytes = 1024 // of one failure
)

func (p *progress) fail(f failure) {
	if len(f.Error) > maxErrorBytes {
		f.Error = strings.ToValidUTF8(f.Error[:maxErrorBytes], "") + "…"
	}
	p.Failures = append(p.Failures, f)
	if n := len(p.Failures); n > keptFailures {
		p.Failures = p.Failures[n-keptFailures:]
	}
}

func (r *runner) progressKey(t *task) string {
	return stream.ProgressKey(r.chain.Name, t.Place)
}

func (r *runner) readProgress(ctx context.Context, t *task) error {
	entry, err := r.progress.Get(ctx, r.progressKey(t))
	if errors.Is(err, stream.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(entry.Value, &t.progress); err != nil {
		return fmt.Errorf("progress of event %d: %w", t.Seq, err)
	}
	t.kept = true
	return nil
}

func (r *runner) writeProgress(ctx context.Context, t *task) error {
	data, err := json.Marshal(t.progress)
	if err != nil {
		return fmt.Errorf("progress of event %d: %w", t.Seq, err)
	}
	return stream.WaitOut(ctx, func() error {
		_, err := r.progress.Put(ctx, r.progressKey(t), data)
		return err
	})
}
