package standing

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// Job is work over many events that an operator has ordered. It is kept in the
// bucket STATE, so it goes on whatever is restarted: consoles drive it, or
// outboxes, one at a time, and a replay is run by the workers of its chain.
type Job struct {
	ID   string  `json:"id"`
	Kind JobKind `json:"kind"`
	// State is where it stands; see [JobState].
	State JobState `json:"state"`
	// Tenant whose deliveries it is about; empty for jobs of the console.
	Tenant string `json:"tenant,omitempty"`
	// Chain that a replay is for; of other jobs the filter has it.
	Chain string `json:"chain,omitempty"`
	// Filter selects what it is about.
	Filter Filter `json:"filter"`
	// At is where a redrive begins: failed, at the step that failed, or start.
	At string `json:"at,omitempty"`
	// Run of the events that a replay, or a redrive from the start, begins.
	Run int `json:"run,omitempty"`
	// Rate is how many dead letters, or deliveries, a second are settled at most.
	Rate int `json:"rate,omitempty"`
	// Concurrency is how many events of a replay each worker handles at once.
	Concurrency int `json:"concurrency,omitempty"`
	// By is who ordered it, Why the reason that was given; ChangedBy who paused,
	// resumed or cancelled it last.
	By        string    `json:"by"`
	Why       string    `json:"why,omitempty"`
	ChangedBy string    `json:"changed_by,omitempty"`
	Created   time.Time `json:"created"`
	Ended     time.Time `json:"ended,omitzero"`
	// Total is how many there were at the start, Handled how many are done with,
	// Skipped how many could not be redriven or were settled by somebody else, and
	// Error why the last one of them was not.
	Total   uint64 `json:"total"`
	Handled uint64 `json:"handled"`
	Skipped uint64 `json:"skipped,omitempty"`
	Error   string `json:"error,omitempty"`

	// Cursor is the next dead letter, Border the last, by their numbers in DEAD; of a
	// recovery notifications, by their numbers in NOTIFY.
	Cursor uint64 `json:"cursor,omitempty"`
	Border uint64 `json:"border,omitempty"`
	// Subjects are what a replay reads, Borders its last events, by shard; Ready says
	// that its consumers are there.
	Subjects []string `json:"subjects,omitempty"`
	Borders  []uint64 `json:"borders,omitempty"`
	Ready    bool     `json:"ready,omitempty"`
	// Clean says that a replay has left nothing at the broker.
	Clean bool `json:"clean,omitempty"`
	// Owner is the process that drives it, as of Beat.
	Owner string    `json:"owner,omitempty"`
	Beat  time.Time `json:"beat,omitzero"`

	// Revision of the entry that it was read from.
	Revision uint64 `json:"-"`
}

// JobKind is what a job does.
type JobKind string

// The kinds of jobs.
const (
	JobRedrive JobKind = "redrive"
	JobDiscard JobKind = "discard"
	JobReplay  JobKind = "replay"
	// JobRedeliver puts deliveries back that were given up, JobRecover sends what a
	// subscription has missed.
	JobRedeliver JobKind = "redeliver"
	JobRecover   JobKind = "recover"
)

// JobState is where a job stands: running and paused ones can be changed, the
// others have ended.
type JobState string

// The states of jobs.
const (
	JobRunning   JobState = "running"
	JobPaused    JobState = "paused"
	JobDone      JobState = "done"
	JobCancelled JobState = "cancelled"
)

// HasEnded reports whether the job is over.
func (j *Job) HasEnded() bool { return j.State == JobDone || j.State == JobCancelled }

// LeavesSomething reports whether a replay that is over has still something at the
// broker.
func (j *Job) LeavesSomething() bool { return j.Kind == JobReplay && j.HasEnded() && !j.Clean }

// JobKeys selects the jobs in the bucket STATE, JobKey is where one of them is.
const JobKeys = "job.*"

// JobKey is where a job is kept.
func JobKey(id string) string { return "job." + id }

// ReadJob makes a job of its entry.
func ReadJob(e stream.Entry) (*Job, error) {
	j := &Job{Revision: e.Revision}
	if err := json.Unmarshal(e.Value, j); err != nil {
		return nil, fmt.Errorf("job %s: %w", e.Key, err)
	}
	return j, nil
}

// ReplayConsumer is the name of the consumers that hand out the events of a replay.
func (j *Job) ReplayConsumer() string { return "replay-" + j.ID }

// ReplayFilters are the subjects that a replay selects of those of its chain. None
// selects nothing.
func (j *Job) ReplayFilters(chain []string) []string {
	var from []string
	if j.Filter.Source != "" {
		from = []string{j.Filter.Source}
	}
	var patterns []event.Pattern
	if p, err := event.ParsePattern(j.Filter.Type); err == nil {
		patterns = []event.Pattern{p}
	}
	return event.Intersect(event.Filters(from, patterns), chain)
}
