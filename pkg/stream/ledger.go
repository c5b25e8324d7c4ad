package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Record says that a chain has finished with an event: a line of its history.
type Record struct {
	// Seq is the event's place in its IN stream.
	Seq uint64 `json:"seq"`
	// Run of the event in this chain; 0 for what came in.
	Run int `json:"run,omitempty"`
	// Outcome: done, responded, dead, …
	Outcome string `json:"outcome"`
	// Steps that ran since the last record of the event.
	Steps []StepRecord `json:"steps,omitempty"`
	// Attempts that it took in all.
	Attempts int `json:"attempts,omitempty"`
	// Status of the Response that ended the chain; 0 for none.
	Status int `json:"status,omitempty"`
}

// StepRecord says that a handler ran.
type StepRecord struct {
	Name string `json:"name"`
	// Took is how long it ran.
	Took time.Duration `json:"took_ns"`
}

// Ledger is what one chain has finished in one shard: the messages of its
// subject in DONE, each of which holds the records of a group. By it an event
// is recognised that the broker hands out again though it was acknowledged,
// which a single broker does after a crash. It also knows which events somebody
// may have begun with.
type Ledger struct {
	b       *Broker
	id      string // tells its own groups from those of others
	subject string
	fences  string // the subject of the owners of an ordered chain
	chain   string // that keeps its progress; empty: none does
	shard   int
	run     int       // the one that it is about
	since   time.Time // of a later run: when it began

	records groups[ledgerEntry]

	marking sync.Mutex // held while the mark is raised
	mark    *mark      // nil: without one

	mu       sync.Mutex
	finished seqset
	begun    seqset
	fence    uint64 // of an ordered chain's owner: see take
	lost     func() // is called when another process has taken the ledger
	follows  []*following
	loaded   bool
	epoch    uint64 // of the connection that both were read in
	tail     uint64 // without progress: the last message that somebody may have begun with
	before   uint64 // the last message that was there when the ledger was first read
	doubtful int    // how many of those were told to be doubtful
	pruned   time.Time
}

// maxDoubts is how many messages are doubtful that were there before their reader:
// more than a worker has usually in hand. Those that are not finished yet come
// first; so one that is overlooked is among them after one more crash, or a few.
const maxDoubts = 1000

// headerWriter says which Ledger wrote a group.
const headerWriter = "belay-writer"

// maxGroup bounds the records of one message.
const maxGroup = 1000

// Ledger returns the ledger of what is done under a name in a shard. One process
// needs one of each. Of what was stored before the connection to the broker
// somebody may have begun with each, for all it knows.
func (b *Broker) Ledger(name string, shard int) *Ledger {
	l := &Ledger{
		b: b, id: nuid.Next(), subject: DoneSubject(name, shard), fences: FenceSubject(name, shard),
		finished: make(seqset), begun: make(seqset),
	}
	l.records.commit, l.records.limit = l.write, maxGroup
	return l
}

// ChainLedger is the [Broker.Ledger] of a chain that keeps its progress in
// [Progress]: that tells which events it has begun with, and not in one go
// finished, so that nobody has to ask for each event of a backlog.
func (b *Broker) ChainLedger(chain string, shard int) *Ledger {
	l := b.Ledger(chain, shard)
	l.chain, l.shard = chain, shard
	return l
}

// RunLedger is the [Broker.ChainLedger] of a later run of the chain, a replay that
// began at a time.
func (b *Broker) RunLedger(chain string, shard, run int, began time.Time) *Ledger {
	l := b.ChainLedger(chain, shard)
	l.run, l.since = run, began.Add(-clockSkew)
	return l
}

// ledgerEntry is a record on its way into the ledger.
type ledgerEntry struct {
	ctx    context.Context // how long its writer waits out an outage
	record Record
}

// Record writes that an event is finished and returns once that is stored.
// Records that arrive while others are being written share one message. An
// outage of the broker is waited out until ctx ends.
func (l *Ledger) Record(ctx context.Context, r Record) error {
	return l.records.add(ledgerEntry{ctx, r})
}

func (l *Ledger) write(entries []ledgerEntry) error {
	records := make([]Record, len(entries))
	for i, e := range entries {
		records[i] = e.record
	}
	data, err := json.Marshal(records)
	if err != nil {
		return fmt.Errorf("write the ledger %s: %w", l.subject, err)
	}
	if half := len(entries) / 2; half > 0 && len(data) > MaxInline {
		if err := l.write(entries[:half]); err != nil {
			return err
		}
		return l.write(entries[half:])
	}
	// All of a group are of one worker, whose handlers end together.
	ctx := entries[0].ctx
	if err := WaitOut(ctx, func() error { return l.publish(ctx, data) }); err != nil {
		return err
	}
	l.add(records)
	return nil
}

func (l *Ledger) add(records []Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range records {
		// Other runs of an event come from elsewhere.
		if r.Run == l.run {
			l.finished.add(r.Seq)
		}
	}
}

// knows tells whether the chain has finished a message, or has begun with it. The
// answer holds only if it is current: of the connection that the message was
// handed out in.
func (l *Ledger) knows(seq uint64) (finished, begun, current bool) {
	epoch := l.b.epoch()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.finished.has(seq), seq <= l.tail || l.begun.has(seq), l.loaded && l.epoch == epoch
}

// doubt makes the ledger be read again before more is taken. The server that led
// the consumer may have died: the next leader hands out again what was acknowledged
// last, and what followed the ledger here may have been on the same server.
func (l *Ledger) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loaded = false
}

// doubts tells whether somebody may have begun with a message that is not finished,
// though nothing tells so. See [Held.Doubtful].
func (l *Ledger) doubts(seq uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq > l.before || l.doubtful >= maxDoubts {
		return false
	}
	l.doubtful++
	return true
}

// load reads what is finished above the consumer's ack floor, once in every
// connection to the broker, and follows what other processes add.
func (l *Ledger) load(ctx context.Context, c *Consumer) error {
	epoch := l.b.epoch()
	l.mu.Lock()
	current := l.loaded && l.epoch == epoch
	l.mu.Unlock()
	if current {
		return l.prune(ctx, c)
	}
	l.stopFollowing()
	floor, tail, since, err := c.unfinished(ctx)
	if err != nil {
		return err
	}
	begun, err := l.begunUpTo(ctx, tail)
	if err != nil {
		return err
	}
	if since.Before(l.since) {
		since = l.since
	}
	follows, err := l.follow(ctx, since)
	if err != nil {
		return fmt.Errorf("read the ledger %s: %w", l.subject, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.follows, l.loaded, l.epoch = follows, true, epoch
	if l.chain == "" {
		l.tail = begun
	}
	if l.before == 0 {
		l.before = tail
	}
	l.dropBelow(floor)
	return nil
}

// follow reads what is known from the time since on, and follows what comes.
func (l *Ledger) follow(ctx context.Context, since time.Time) (all []*following, err error) {
	read := func(stream, subject string, bare bool, read func(jetstream.Msg, bool)) error {
		f, err := l.b.follow(ctx, stream, subject, since, bare, read)
		if err != nil {
			return err
		}
		all = append(all, f)
		return f.wait(ctx)
	}
	err = read(Done, l.subject, false, l.readDone)
	if err == nil && l.chain != "" {
		err = read(bucketStream(Progress), fmt.Sprintf("%s%d.>", progressSubjects(l.chain), l.shard), true, l.readProgress)
	}
	if err != nil {
		for _, f := range all {
			f.messages.Stop()
		}
		return nil, err
	}
	return all, nil
}

// readDone takes a group of records. Of those that it wrote itself it knows.
func (l *Ledger) readDone(m jetstream.Msg, live bool) {
	if live && m.Headers().Get(headerWriter) == l.id {
		return
	}
	var records []Record
	if err := json.Unmarshal(m.Data(), &records); err != nil {
		l.b.log.Error("a record of the ledger cannot be read", "subject", l.subject, "error", err)
	}
	l.add(records)
}

// readProgress takes a key of PROGRESS.
func (l *Ledger) readProgress(m jetstream.Msg, _ bool) {
	place, err := ParsePlace(strings.TrimPrefix(m.Subject(), progressSubjects(l.chain)))
	if err != nil {
		l.b.log.Error("a key of the progress cannot be read", "subject", m.Subject(), "error", err)
		return
	}
	if place.Run != l.run {
		return // it comes from elsewhere
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun.add(place.Seq)
}

func (l *Ledger) stopFollowing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loaded = false
	for _, f := range l.follows {
		f.messages.Stop()
	}
	l.follows = nil
}

const (
	pruneEvery = time.Minute
	// pruneMargin is how many finished messages below the ack floor are kept in
	// mind: acknowledgements that are on their way when a broker fails.
	pruneMargin = 10_000
)

// prune forgets, now and then, what the broker has long stopped handing out.
func (l *Ledger) prune(ctx context.Context, c *Consumer) error {
	l.mu.Lock()
	due := time.Since(l.pruned) > pruneEvery
	l.mu.Unlock()
	if !due {
		return nil
	}
	info, err := c.info(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropBelow(max(info.AckFloor.Stream, pruneMargin) - pruneMargin)
	return nil
}

// dropBelow forgets what is at or below the floor. It is called with the lock.
func (l *Ledger) dropBelow(floor uint64) {
	l.finished.dropBelow(floor)
	l.begun.dropBelow(floor)
	l.pruned = time.Now()
}

// clockSkew is how far the clocks may differ of the brokers that lead IN and
// DONE, and of this process.
const clockSkew = 10 * time.Second

// unfinished tells where the consumer stands: all up to floor is settled, tail is
// the newest message, and none of the unsettled ones was stored before since, let
// alone begun with or finished.
func (c *Consumer) unfinished(ctx context.Context) (floor, tail uint64, since time.Time, err error) {
	info, err := c.info(ctx)
	if err != nil {
		return 0, 0, since, err
	}
	state, err := c.b.info(ctx, c.stream)
	if err != nil {
		return 0, 0, since, err
	}
	floor, tail = info.AckFloor.Stream, state.State.LastSeq
	m, err := c.b.Next(ctx, c.stream, ">", floor+1)
	switch {
	case errors.Is(err, ErrNotFound):
		return floor, tail, time.Now().Add(-clockSkew), nil // nothing is unsettled
	case err != nil:
		return 0, 0, since, err
	}
	return floor, tail, m.Time.Add(-clockSkew), nil
}
