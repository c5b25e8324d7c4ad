package standing

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// The headers of a dead letter, besides the event's own.
const (
	headerChain    = "belay-chain"
	headerHandler  = "belay-handler" // the step that failed last
	headerOrder    = "belay-order"   // and its order
	headerReason   = "belay-reason"
	headerPlace    = "belay-place"    // <shard>.<seq>.<run> in IN
	headerFailures = "belay-failures" // JSON: the last failed attempts
	headerAttempts = "belay-attempts" // of all steps
	headerBytes    = "belay-bytes"    // of the body
	headerDied     = "belay-died"     // when it was given up
	headerValues   = "belay-values"   // JSON: what the finished steps have left
	headerLeftOut  = "belay-left-out" // values, event: what did not fit, or was gone

	headerVerb  = "belay-closed" // redriven, discarded
	headerBy    = "belay-closed-by"
	headerAt    = "belay-closed-at"
	headerWhy   = "belay-closed-why"
	headerJob   = "belay-closed-job"
	headerAgain = "belay-closed-run" // the run that the redrive began
)

// What of a dead letter may be missing.
const (
	noValues = "values" // they are in PROGRESS only
	noEvent  = "event"  // what is kept is no event, or not whole
)

// Letter is a dead letter: an event that a chain has given up.
type Letter struct {
	stream.LetterID
	// Handler is the step that failed last, Order its order; empty where none ran.
	Handler string
	Order   int
	// Reason is why it was given up.
	Reason string
	// Attempts of all steps, and the last of those that failed, oldest first.
	Attempts int
	Failures []Failure
	// Died is when it was given up.
	Died time.Time
	// Bytes is the size of the body.
	Bytes int
	// Event has the attributes and the kept headers, and the body where that was
	// read too. It is nil where what is kept is no event.
	Event *event.Event
	// Whole says that the event can be run again.
	Whole bool
	// Values of the finished steps; ValuesLeftOut says that they were too large.
	Values        event.Values
	ValuesLeftOut bool
	// Closed is what became of the letter; nil while it is open.
	Closed *Closed
	// Seq is its number in DEAD.
	Seq uint64
}

// Closed is what became of a dead letter.
type Closed struct {
	// Verb is what was done: [Redriven] or [Discarded].
	Verb string
	// By is who did it, Why the reason that was given, Job the job that it was part
	// of; empty for none.
	By, Why, Job string
	At           time.Time
	// Run that the redrive began; 0 where it went on at the failed step.
	Run int
}

// What may become of a dead letter.
const (
	Redriven  = "redriven"
	Discarded = "discarded"
)

const (
	// maxFailuresHeader bounds what the failures take of a dead letter's headers. The
	// broker takes 64 KiB of them in all, and the event has its own.
	maxFailuresHeader = 16 << 10
	maxValuesHeader   = 16 << 10
)

// Describe puts into the headers of a message what a dead letter says besides the
// event, which has so many bytes.
func (l *Letter) Describe(header map[string][]string, bytes int) error {
	failures, err := failuresHeader(l.Failures)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		headerChain: l.Chain, headerPlace: l.Place.String(), headerReason: l.Reason,
		headerHandler: l.Handler, headerOrder: strconv.Itoa(l.Order),
		headerAttempts: strconv.Itoa(l.Attempts), headerFailures: failures,
		headerBytes: strconv.Itoa(bytes), headerDied: time.Now().UTC().Format(time.RFC3339Nano),
	} {
		header[name] = []string{value}
	}
	if !l.Whole {
		header[headerLeftOut] = []string{noEvent}
	}
	if l.ValuesLeftOut {
		header[headerLeftOut] = []string{noValues}
	}
	if len(l.Values) == 0 {
		return nil
	}
	values, err := json.Marshal(l.Values)
	if err != nil {
		return fmt.Errorf("dead letter: %w", err)
	}
	if len(values) > maxValuesHeader {
		l.ValuesLeftOut = true
		header[headerLeftOut] = []string{noValues}
		return nil
	}
	header[headerValues] = []string{string(values)}
	return nil
}

// failuresHeader writes the last of the failures, as many as fit.
func failuresHeader(failures []Failure) (string, error) {
	for {
		data, err := json.Marshal(failures)
		if err != nil {
			return "", fmt.Errorf("dead letter: %w", err)
		}
		if len(data) <= maxFailuresHeader {
			return string(data), nil
		}
		failures = failures[1:]
	}
}

// ReadLetter makes a dead letter of a message of DEAD, open or closed. The body of
// its event is what the message holds: see [stream.Broker.ReadEvent] for one in
// parts.
func ReadLetter(m *stream.Stored) (*Letter, error) {
	id, err := stream.ParseDead(m.Subject)
	if err != nil {
		return nil, err
	}
	h := m.Header
	l := &Letter{
		LetterID: id, Handler: event.HeaderValue(h, headerHandler), Reason: event.HeaderValue(h, headerReason),
		Died: m.Time, Bytes: m.Size(), Seq: m.Seq,
	}
	l.Order, _ = strconv.Atoi(event.HeaderValue(h, headerOrder))
	l.Attempts, _ = strconv.Atoi(event.HeaderValue(h, headerAttempts))
	if n, err := strconv.Atoi(event.HeaderValue(h, headerBytes)); err == nil {
		l.Bytes = n
	}
	if at, err := time.Parse(time.RFC3339Nano, event.HeaderValue(h, headerDied)); err == nil {
		l.Died = at
	}
	if text := event.HeaderValue(h, headerFailures); text != "" {
		if err := json.Unmarshal([]byte(text), &l.Failures); err != nil {
			return nil, fmt.Errorf("dead letter %v: %s: %w", id, headerFailures, err)
		}
	}
	if text := event.HeaderValue(h, headerValues); text != "" {
		if err := json.Unmarshal([]byte(text), &l.Values); err != nil {
			return nil, fmt.Errorf("dead letter %v: %s: %w", id, headerValues, err)
		}
	}
	left := event.HeaderValue(h, headerLeftOut)
	l.ValuesLeftOut = left == noValues
	// What cannot be decoded is shown all the same, without an event.
	if e, err := event.Decode(h, m.Data); err == nil {
		l.Event, l.Whole = e, left != noEvent
	}
	if verb := event.HeaderValue(h, headerVerb); verb != "" {
		l.Closed = &Closed{Verb: verb, By: event.HeaderValue(h, headerBy), Why: event.HeaderValue(h, headerWhy), Job: event.HeaderValue(h, headerJob)}
		l.Closed.At, _ = time.Parse(time.RFC3339Nano, event.HeaderValue(h, headerAt))
		l.Closed.Run, _ = strconv.Atoi(event.HeaderValue(h, headerAgain))
	}
	return l, nil
}

// Record is the message that tells what became of the dead letter m: its headers,
// without a body and the values.
func Record(id stream.LetterID, m *stream.Stored, c Closed) stream.Message {
	header := maps.Clone(stream.Portable(m.Header))
	delete(header, headerValues)
	for name, value := range map[string]string{
		headerVerb: c.Verb, headerBy: c.By, headerWhy: c.Why, headerJob: c.Job,
		headerAt: c.At.UTC().Format(time.RFC3339Nano), headerAgain: strconv.Itoa(c.Run),
	} {
		if value != "" {
			header[name] = []string{value}
		}
	}
	return stream.Message{Subject: stream.DeadClosed(id), Header: header, ID: "closed." + id.String() + "." + c.Verb}
}

// Shortened is a [Record] without the request's headers and the failures: of a letter
// that left no room in the broker's limit of headers for what became of it.
func Shortened(record stream.Message) stream.Message {
	record.Header = maps.Clone(record.Header)
	maps.DeleteFunc(record.Header, func(name string, _ []string) bool {
		return name == headerFailures || strings.HasPrefix(name, event.RequestPrefix)
	})
	return record
}
