package ingress

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/stream"
)

// An exchange is one request and what comes of it: the line in the log.
type exchange struct {
	w      http.ResponseWriter
	r      *http.Request
	start  time.Time
	source *receiver.Source
	body   []byte
	event  *event.Event
}

// handle is the path of a webhook: match the source, cap, verify, store, answer.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	s.metrics.inFlight.Inc()
	defer s.metrics.inFlight.Dec()

	x := &exchange{w: w, r: r, start: time.Now()}
	if err := s.admit(x); err != nil {
		s.refuse(x, err)
		return
	}
	if err := x.readBody(s.config.BodyTimeout); err != nil {
		s.refuse(x, err)
		return
	}
	received, err := x.source.Receive(r, x.body, time.Now())
	if err != nil {
		s.refuse(x, err)
		return
	}
	if received.Event == nil {
		x.answer(received.Answer)
		s.accepted(x, answered)
		return
	}
	x.event = received.Event
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
	x.answer(received.Answer)
	s.accepted(x, outcome)
}

// admit finds the source and judges what the headers say.
func (s *Server) admit(x *exchange) error {
	// For every request: of one that is refused unread, the HTTP server reads the
	// body all the same, and would wait for it for ever.
	if err := x.readUntil(x.start.Add(s.config.BodyTimeout)); err != nil {
		return err
	}
	names := mux.Vars(x.r)
	if x.source = s.sources.Load().find(names["receiver"], names["source"]); x.source == nil {
		return &refusal{outcome: unknownSource, status: http.StatusNotFound}
	}
	if !slices.Contains(x.source.Methods(), x.r.Method) {
		x.w.Header().Set("Allow", strings.Join(x.source.Methods(), ", "))
		return &refusal{outcome: wrongMethod, status: http.StatusMethodNotAllowed}
	}
	if !x.source.AcceptsType(x.r.Header.Get("Content-Type")) {
		return &refusal{outcome: wrongType, status: http.StatusUnsupportedMediaType}
	}
	return nil
}

// readBody reads the body within the source's limit and a time.
func (x *exchange) readBody(within time.Duration) error {
	limit := x.source.MaxBody()
	if x.r.ContentLength > limit {
		return &refusal{outcome: tooLarge, status: http.StatusRequestEntityTooLarge}
	}
	if budget := x.source.Budget(); budget < within {
		if err := x.readUntil(x.start.Add(budget)); err != nil {
			return err
		}
	}
	var body bytes.Buffer
	if x.r.ContentLength > 0 {
		body.Grow(int(x.r.ContentLength) + bytes.MinRead)
	}
	if _, err := body.ReadFrom(http.MaxBytesReader(x.w, x.r.Body, limit)); err != nil {
		return brokenBody(err)
	}
	x.body = body.Bytes()
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

// store publishes the event inside what is left of the source's budget.
func (s *Server) store(x *exchange) (stream.Receipt, error) {
	return publish(x.r.Context(), s.broker, x.event, x.start.Add(x.source.Budget()))
}

// answer sends what the provider wants to hear.
func (x *exchange) answer(a receiver.Answer) {
	if a.ContentType != "" {
		x.w.Header().Set("Content-Type", a.ContentType)
	}
	x.w.WriteHeader(a.Status)
	_, _ = x.w.Write(a.Body) // a sender that hung up will send again
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
