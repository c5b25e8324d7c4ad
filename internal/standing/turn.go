package standing

import (
	"strconv"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

const (
	headerTurn     = "belay-turn"     // which turn is due
	headerRedrives = "belay-redrives" // of the run; missing for none
	// HeaderReference says where the body is that did not travel with its event: 1,
	// at the event's own place in IN, or the number of the message in DEAD.
	HeaderReference = "belay-reference"

	// InPlace is the reference to the event's own place.
	InPlace = "1"
)

// MaxParkedBody is the largest body that is parked with its event; of a larger
// one only a reference is.
const MaxParkedBody = 64 << 10

// Turn is the message that brings an event back to its chain when the turn of the
// progress is due. The reference is where the body is if it is too large to travel along;
// empty: [InPlace].
func Turn(chain string, place stream.Place, p Progress, parked *event.Event, reference string) stream.Message {
	e := *parked
	large := len(e.Body) > MaxParkedBody
	if large {
		e.Body = nil
	}
	header, data := e.Encode()
	header[headerTurn] = []string{strconv.Itoa(p.Turn)}
	if p.Redrives > 0 {
		header[headerRedrives] = []string{strconv.Itoa(p.Redrives)}
	}
	if large {
		if reference == "" {
			reference = InPlace
		}
		header[HeaderReference] = []string{reference}
	}
	return stream.Message{Subject: stream.RetryDue(chain, place), Header: header, Data: data}
}

// TurnOf is the turn that a message of RETRY is due for.
func TurnOf(header map[string][]string) (int, error) {
	return strconv.Atoi(event.HeaderValue(header, headerTurn))
}

// RedrivesOf is how often the run of a parked event had been redriven, for when its
// progress is gone.
func RedrivesOf(header map[string][]string) int {
	n, err := strconv.Atoi(event.HeaderValue(header, headerRedrives))
	if err != nil {
		return 0
	}
	return n
}

// Once gives the message of a turn an id, so that two who make up for it at the
// same time store one.
func Once(m stream.Message, turn int) stream.Message {
	m.ID = m.Subject + "." + strconv.Itoa(turn)
	return m
}
