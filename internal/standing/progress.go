// Package standing is where a chain stands in an event: its progress, the message
// that brings the event back, and the dead letter that it may end as. The worker
// writes all three; the console, which redrives and erases, rewrites them.
package standing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// Progress is where a chain stands in an event that it has not handled in one
// go. It is kept in the bucket PROGRESS from the first failure on.
type Progress struct {
	// Next is the step to resume at; empty for the first one. It is found by its
	// name or, where the chain has lost it, by its order.
	Next  string `json:"next"`
	Order int    `json:"order"`
	// Failed counts the failed attempts of Next, since it was redriven last.
	Failed int `json:"failed"`
	// Total counts the attempts of all steps.
	Total int `json:"total"`
	// Begun counts how often the event was begun with since the last attempt that was
	// recorded, where it was in doubt whether it had been before; Delivery is the
	// count of the message that the last attempt was made for.
	Begun    int `json:"begun,omitempty"`
	Delivery int `json:"delivery,omitempty"`
	// Turn counts how often the event was parked. From the first time on it is in
	// RETRY, and what brings it back carries its turn: a message of an earlier one
	// is stale, and so is that of IN.
	Turn int `json:"turn"`
	// Until is when the turn is due.
	Until time.Time `json:"until,omitzero"`
	// Since is what the age of the event is counted from: when it was redriven last,
	// or when its run began. Zero: when it came in.
	Since time.Time `json:"since,omitzero"`
	// Values that the finished steps have left.
	Values event.Values `json:"values,omitempty"`
	// Failures are the last ones, oldest first.
	Failures []Failure `json:"failures,omitempty"`
	// Outcome is set when the chain has ended: done, responded, dead, erased.
	Outcome string `json:"outcome,omitempty"`
	// Redrives counts how often the run was redriven. A dead letter of fewer is
	// history.
	Redrives int `json:"redrives,omitempty"`
	// Run is the run that the last redrive began, from the start; 0 where it went on
	// with this one.
	Run int `json:"run,omitempty"`
}

// Failure is one failed attempt.
type Failure struct {
	Handler string    `json:"handler"`
	Attempt int       `json:"attempt"`
	Time    time.Time `json:"time"`
	Error   string    `json:"error"`
}

// Erased is the outcome of an event whose content was erased.
const Erased = "erased"

const (
	keptFailures  = 20   // of one event
	maxErrorBytes = 1024 // of one failure
)

// Fail notes a failed attempt.
func (p *Progress) Fail(f Failure) {
	if len(f.Error) > maxErrorBytes {
		f.Error = strings.ToValidUTF8(f.Error[:maxErrorBytes], "") + "…"
	}
	p.Failures = append(p.Failures, f)
	if n := len(p.Failures); n > keptFailures {
		p.Failures = p.Failures[n-keptFailures:]
	}
}

// Age is how old the event is for its chain's patience.
func (p *Progress) Age(came time.Time) time.Duration {
	if !p.Since.IsZero() {
		came = p.Since
	}
	return time.Since(came)
}

// Log is the bucket PROGRESS.
type Log struct{ bucket *stream.Bucket }

// NewLog returns the bucket.
func NewLog(b *stream.Broker) Log { return Log{b.Bucket(stream.Progress)} }

// Read returns where a chain stands in an event. Without an entry it is
// [stream.ErrNotFound]. What was written a moment ago may not be in it yet: it is for
// those who look.
func (l Log) Read(ctx context.Context, chain string, place stream.Place) (Progress, error) {
	entry, err := l.bucket.Get(ctx, stream.ProgressKey(chain, place))
	if err != nil {
		return Progress{}, err
	}
	return ReadProgress(entry)
}

// Find returns where a chain stands in an event, and the revision of that: 0 where
// there is no entry. All writes are in it that were confirmed before; it costs the
// broker more than Read.
func (l Log) Find(ctx context.Context, chain string, place stream.Place) (p Progress, revision uint64, err error) {
	entry, err := l.bucket.GetNewest(ctx, stream.ProgressKey(chain, place))
	switch {
	case errors.Is(err, stream.ErrNotFound):
		return p, 0, nil
	case err != nil:
		return p, 0, err
	}
	p, err = ReadProgress(entry)
	return p, entry.Revision, err
}

// ReadProgress makes a progress of its entry.
func ReadProgress(e stream.Entry) (p Progress, err error) {
	if err := json.Unmarshal(e.Value, &p); err != nil {
		return p, fmt.Errorf("progress %s: %w", e.Key, err)
	}
	return p, nil
}

// Write stores where a chain stands, whatever was there.
func (l Log) Write(ctx context.Context, chain string, place stream.Place, p Progress) error {
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("progress of event %v: %w", place, err)
	}
	_, err = l.bucket.Put(ctx, stream.ProgressKey(chain, place), data)
	return err
}

// Replace stores where a chain stands if that is still what was read with the
// revision; 0: if there is no entry. It returns the new revision, and fails with
// [stream.ErrConflict] where somebody else has written. A write of its own of which
// the confirmation got lost is none of somebody else.
func (l Log) Replace(ctx context.Context, chain string, place stream.Place, p Progress, revision uint64) (uint64, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return 0, fmt.Errorf("progress of event %v: %w", place, err)
	}
	key := stream.ProgressKey(chain, place)
	now, err := l.bucket.Replace(ctx, key, data, revision)
	if errors.Is(err, stream.ErrConflict) {
		if entry, err := l.bucket.GetNewest(ctx, key); err == nil && bytes.Equal(entry.Value, data) {
			return entry.Revision, nil
		}
	}
	return now, err
}
