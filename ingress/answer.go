package ingress

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
)

// A waited is what came of waiting for a chain's answer: a closed set, and the
// metric's label. In all cases but the first the sender gets the receiver's plain
// success answer.
type waited string

const (
	gotResponse   waited = "response"
	gotNothing    waited = "nothing"     // the chain has nothing to say, or will not in time
	gotInvalid    waited = "invalid"     // its Response is no HTTP answer
	wasDuplicate  waited = "duplicate"   // the chain answers the first request of an id
	tooLate       waited = "too_late"    // the budget ended before the chain did
	hungUp        waited = "hung_up"     // the sender did not wait
	tooManyWait   waited = "too_many"    // for one more to wait
	askingFailure waited = "unavailable" // there is no connection to be answered over
)

// ask prepares the question that is stored with the event, where the source has a
// chain that answers. Where it cannot be asked the sender gets the plain answer.
func (s *Server) ask(x *exchange) {
	chain := x.source.Asks(x.event)
	if chain == "" {
		return
	}
	if !x.wait() {
		x.waited = tooManyWait
		return
	}
	q, err := s.health.Ask(chain)
	if err == nil {
		// The deadline of the body would end the wait as if the sender had hung up.
		err = x.readUntil(time.Time{})
	}
	if err != nil {
		x.room.waiting.Add(-1)
		x.waited = askingFailure
		return
	}
	x.question = q
}

// answer is what the sender of a stored event gets: the chain's answer, if there
// is one inside the budget, or the plain one.
func (s *Server) answer(x *exchange, stored stream.Receipt, plain receiver.Answer) receiver.Answer {
	switch {
	case x.question == nil:
		return plain
	case stored.Duplicate:
		x.waited = wasDuplicate
		return plain
	}
	ctx, cancel := context.WithDeadline(x.r.Context(), x.start.Add(x.source.Budget()))
	defer cancel()
	got, err := x.question.Answer(ctx)
	switch {
	case err != nil && x.r.Context().Err() != nil:
		x.waited = hungUp
	case err != nil:
		x.waited = tooLate
	case got.Status == 0:
		x.waited = gotNothing
	case got.Status < http.StatusOK || got.Status > 599:
		x.waited = gotInvalid
	default:
		x.waited = gotResponse
		return response(got)
	}
	return plain
}

// ours are the headers that the server sets, or that belong to the connection
// (https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1).
var ours = []string{
	"Connection", "Content-Length", "Date", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// response is a chain's answer as the sender gets it.
func response(got stream.Answer) receiver.Answer {
	a := receiver.Answer{Status: got.Status, Header: make(http.Header, len(got.Header)), Body: got.Body}
	for name, values := range got.Header {
		name = http.CanonicalHeaderKey(name)
		if !slices.Contains(ours, name) && !strings.HasPrefix(name, "Belay-") {
			a.Header[name] = values
		}
	}
	if a.Header.Get("Content-Type") == "" && len(a.Body) > 0 {
		a.ContentType = "text/plain; charset=utf-8"
	}
	return a
}
