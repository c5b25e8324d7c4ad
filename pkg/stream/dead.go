package stream

import (
	"fmt"
	"strconv"
	"strings"
)

// A LetterID names a dead letter: an event, of one run of a chain, that was given
// up. It is written <chain>.<shard>.<seq>.<run>.<redrives>.
type LetterID struct {
	Chain string
	Place
	// Redrives is how often the run had been redriven before it was given up: what
	// is redriven and given up again is another letter.
	Redrives int
}

// String is the id as the tokens of a subject: orders.0.1207.0.0.
func (l LetterID) String() string {
	return l.Chain + "." + l.Place.String() + "." + strconv.Itoa(l.Redrives)
}

// ParseLetterID reads what [LetterID.String] wrote.
func ParseLetterID(text string) (l LetterID, err error) {
	chain, rest, _ := strings.Cut(text, ".")
	last := strings.LastIndexByte(rest, '.')
	if last < 0 || !validChain(chain) {
		return LetterID{}, fmt.Errorf("%q is no id of a dead letter: want one such as orders.0.1207.0.0", text)
	}
	if l.Place, err = ParsePlace(rest[:last]); err != nil {
		return LetterID{}, fmt.Errorf("%q is no id of a dead letter: %w", text, err)
	}
	if l.Redrives, err = strconv.Atoi(rest[last+1:]); err != nil || l.Redrives < 0 {
		return LetterID{}, fmt.Errorf("%q is no id of a dead letter: want one such as orders.0.1207.0.0", text)
	}
	l.Chain = chain
	return l, nil
}

func validChain(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

const (
	deadIn     = "belay.dead.in."
	deadClosed = "belay.dead.closed."
	deadBody   = "belay.dead.body."
)

// DeadEvent is where a dead letter is kept until it is redriven or discarded.
func DeadEvent(l LetterID) string { return deadIn + l.String() }

// DeadClosed is where it is kept, without a body, what became of a dead letter.
func DeadClosed(l LetterID) string { return deadClosed + l.String() }

// DeadEvents selects the open dead letters of a chain; * stands for all chains.
func DeadEvents(chain string) string { return deadIn + chain + ".*.*.*.*" }

// DeadCloseds selects the closed dead letters of a chain; * stands for all chains.
func DeadCloseds(chain string) string { return deadClosed + chain + ".*.*.*.*" }

// DeadPlace selects the open dead letters of a chain, of all runs over an event.
func DeadPlace(chain string, shard int, seq uint64) string {
	return fmt.Sprintf("%s%s.%d.%d.*.*", deadIn, chain, shard, seq)
}

// DeadOf selects all that is kept of an event that chains have given up: open and
// closed dead letters, and bodies.
func DeadOf(shard int, seq uint64) []string {
	return []string{
		DeadPlace("*", shard, seq),
		fmt.Sprintf("%s*.%d.%d.*.*", deadClosed, shard, seq),
		fmt.Sprintf("%s*.%d.%d.*", deadBody, shard, seq),
	}
}

// ParseDead reads the id of a dead letter, open or closed, from its subject.
func ParseDead(subject string) (LetterID, error) {
	id, ok := strings.CutPrefix(subject, deadIn)
	if !ok {
		if id, ok = strings.CutPrefix(subject, deadClosed); !ok {
			return LetterID{}, fmt.Errorf("subject %s is not one of a dead letter", subject)
		}
	}
	return ParseLetterID(id)
}

// DeadBody is where the large body of a redriven event is kept whose own place no
// longer holds it.
func DeadBody(chain string, p Place) string { return deadBody + chain + "." + p.String() }

// DeadEventParts is where the parts of the large bodies of dead letters are.
func DeadEventParts(chain string) string { return "belay.part.dead." + chain }

// DeadNotification is where what cannot be read of the notifications is kept.
const DeadNotification = "belay.dead.notify"
