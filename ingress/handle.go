package ingress

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
)

// An exchange is one request and what comes of it: the line in the log.
type exchange struct {
	w      http.ResponseWriter
	r      *http.Request
	called *http.Request // r with the URL that the sender called, where that matters
	start  time.Time
	origin origin
	source *source
	body   []byte
	buffer *buffer // that body is in; nil: in none
	event  *event.Event

	room  *room
	taken int64 // bytes of the room; 0 until the request is let in

	question *stream.Question // nil: the sender does not wait for a chain
	waited   waited           // what came of it; empty if it did not
}

// handle is the path of a webhook: match the source, cap, verify, store, answer.
// Where the source says so, a chain answers; see answer.go.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	x := &exchange{w: w, r: r, start: time.Now(), origin: s.proxies.origin(r), room: s.room}
	defer x.leave()
	if err := s.admit(x); err != nil {
		s.refuse(x, err)
		return
	}
	if err := x.readBody(s.config.BodyTimeout); err != nil {
		s.refuse(x, err)
		return
	}
	received, err := s.receive(x)
	if err != nil {
		s.refuse(x, err)
		return
	}
	if received.Event == nil {
		if received.Tell != "" {
			s.log.WarnContext(r.Context(), "a handshake for the operator: "+received.Tell, "source", x.source.Name())
		}
		received.Answer.Send(w)
		s.accepted(x, answered)
		return
	}
	x.event = received.Event
	s.ask(x)
	receipt, err := s.store(x)
	if err != nil {
		s.refuse(x, err)
		return
	}
	w.Header().Set("Belay-Event-Id", headerText(x.event.ID))
	outcome := stored
	if receipt.Duplicate {
		w.Header().Set("Belay-Duplicate", "true")
		outcome = duplicate
	}
	a := s.answer(x, receipt, received.Answer)
	a.Send(w)
	s.accepted(x, outcome)
}

// admit finds the source and judges what the headers say.
func (s *Server) admit(x *exchange) error {
	x.source = s.find(x.r)
	// For every request: of one that is refused unread, the HTTP server reads the
	// body all the same, and would wait for it for ever.
	within := s.config.BodyTimeout
	if x.source != nil {
		within = min(within, x.source.Budget())
	}
	if err := x.readUntil(x.start.Add(within)); err != nil {
		return err
	}
	if x.source == nil {
		return &refusal{outcome: unknownSource, status: http.StatusNotFound}
	}
	if !x.enter() {
		return x.overloaded()
	}
	if _, off, _, _ := s.config.Off.Look(x.source.Name()); off {
		return &refusal{outcome: switchedOff, status: http.StatusGone}
	}
	if x.source.RequiresHTTPS() && !x.origin.https {
		return &refusal{outcome: notHTTPS, status: http.StatusForbidden, cause: errNotHTTPS}
	}
	if limit := x.source.MaxHeader(); limit > 0 && headerSize(x.r.Header) > limit {
		return &refusal{outcome: headersTooLarge, status: http.StatusRequestHeaderFieldsTooLarge}
	}
	if !slices.Contains(x.source.Methods(), x.r.Method) {
		x.w.Header().Set("Allow", strings.Join(x.source.Methods(), ", "))
		return &refusal{outcome: wrongMethod, status: http.StatusMethodNotAllowed}
	}
	if !x.source.AcceptsType(x.r.Header.Get("Content-Type")) {
		return &refusal{outcome: wrongType, status: http.StatusUnsupportedMediaType}
	}
	return x.source.overRate()
}

// headerSize is what the headers are in bytes: names and values.
func headerSize(h http.Header) int64 {
	size := 0
	for name, values := range h {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	return int64(size)
}

// readBody reads the body within the source's limit. How long it may take was set
// before, to within or the source's budget.
func (x *exchange) readBody(within time.Duration) (err error) {
	limit := min(x.source.MaxBody(), x.room.largest())
	if x.r.ContentLength > limit {
		return &refusal{outcome: tooLarge, status: http.StatusRequestEntityTooLarge}
	}
	if x.body, err = x.read(x.r.ContentLength, limit); err != nil {
		return err
	}
	if within >= x.source.Budget() {
		return nil // when reading fails, the request is over anyway
	}
	// The deadline was for the body. Left alone it would end the connection, and
	// with it this request, while the event is being stored.
	return x.readUntil(time.Time{})
}

// readUntil sets when reading from the connection fails; zero: never.
func (x *exchange) readUntil(t time.Time) error {
	return http.NewResponseController(x.w).SetReadDeadline(t)
}

// brokenBody tells why a body could not be read to its end.
func brokenBody(err error) error {
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return &refusal{outcome: tooLarge, status: http.StatusRequestEntityTooLarge}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &refusal{outcome: tooSlow, status: http.StatusRequestTimeout}
	}
	return &refusal{outcome: truncated, status: http.StatusBadRequest, cause: err}
}

// receive verifies the request and names its event.
func (s *Server) receive(x *exchange) (receiver.Received, error) {
	x.called = x.r
	if x.source.NeedsURL() {
		x.called = asCalled(x.r, s.public, x.origin)
	}
	received, err := x.source.Receive(x.called, x.body, time.Now())
	if err != nil {
		return receiver.Received{}, err
	}
	return received, x.source.countVerified()
}

// store publishes the event inside what is left of the source's budget.
func (s *Server) store(x *exchange) (stream.Receipt, error) {
	return publish(x.r.Context(), s.health, x.event, x.question, x.start.Add(x.source.Budget()))
}

// headerText makes an id that came from a sender safe to send back in a header.
func headerText(id string) string {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return url.PathEscape(id)
		}
	}
	return id
}
