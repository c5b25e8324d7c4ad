package stream

import (
	"fmt"
	"strconv"
	"strings"
)

// Place names an event in the work of a chain: where it is stored, and for which
// time the chain runs over it. It is written <shard>.<seq>.<run>, which are tokens
// of a subject and of a bucket's key.
type Place struct {
	// Shard is the number of the IN stream that holds the event, Seq its number there.
	Shard int
	Seq   uint64
	// Run is 0 for what came in. Every replay, and every redrive from the start, has
	// a higher number than those of the chain before it.
	Run int
}

// String is the place as three tokens: 0.1207.0.
func (p Place) String() string { return fmt.Sprintf("%d.%d.%d", p.Shard, p.Seq, p.Run) }

// ParsePlace reads what [Place.String] wrote.
func ParsePlace(text string) (p Place, err error) {
	tokens := strings.Split(text, ".")
	if len(tokens) != 3 {
		return Place{}, fmt.Errorf("place %q has %d tokens, want shard, number and run", text, len(tokens))
	}
	if p.Shard, err = strconv.Atoi(tokens[0]); err != nil || p.Shard < 0 {
		return Place{}, fmt.Errorf("place %q: %q is no shard", text, tokens[0])
	}
	if p.Seq, err = strconv.ParseUint(tokens[1], 10, 64); err != nil || p.Seq == 0 {
		return Place{}, fmt.Errorf("place %q: %q is no number of an event", text, tokens[1])
	}
	if p.Run, err = strconv.Atoi(tokens[2]); err != nil || p.Run < 0 {
		return Place{}, fmt.Errorf("place %q: %q is no run", text, tokens[2])
	}
	return p, nil
}

// ProgressKey is where the bucket [Progress] holds how far a chain is with an event.
func ProgressKey(chain string, p Place) string { return chain + "." + p.String() }

// progressSubjects is what the subjects begin with that the keys of a chain in
// [Progress] are stored under; the place follows.
func progressSubjects(chain string) string { return "$KV." + Progress + "." + chain + "." }

// ProgressKeys selects the progress of all runs of a chain (*: of all) over an event.
func ProgressKeys(chain string, shard int, seq uint64) string {
	return fmt.Sprintf("%s.%d.%d.*", chain, shard, seq)
}

// RetryWait is where an event waits for its next attempt in a chain.
func RetryWait(chain string, p Place) string { return "belay.retry.wait." + chain + "." + p.String() }

// RetryDue is where an event stands whose next attempt in a chain is due.
func RetryDue(chain string, p Place) string { return "belay.retry.due." + chain + "." + p.String() }

// RetryDueAll selects all that is due of a chain.
func RetryDueAll(chain string) string { return "belay.retry.due." + chain + ".>" }

// retryAllOf selects what a chain has parked, waiting and due.
func retryAllOf(chain string) string { return "belay.retry.*." + chain + ".>" }

// RetryAll selects what is parked of one event in a chain, waiting and due.
func RetryAll(chain string, p Place) string { return "belay.retry.*." + chain + "." + p.String() }

// RetryPlace selects what is parked of an event in all chains and runs.
func RetryPlace(shard int, seq uint64) string {
	return fmt.Sprintf("belay.retry.*.*.%d.%d.*", shard, seq)
}

// ParseRetry reads the place from a subject of [RetryWait] or [RetryDue].
func ParseRetry(subject string) (Place, error) {
	// belay retry <wait or due> <chain> <place>
	tokens := strings.SplitN(subject, ".", 5)
	if len(tokens) != 5 || tokens[0] != "belay" || tokens[1] != "retry" {
		return Place{}, fmt.Errorf("subject %s is not one of a parked event", subject)
	}
	return ParsePlace(tokens[4])
}
