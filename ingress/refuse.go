package ingress

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/belay-hooks/belay/pkg/receiver"
)

// An outcome is what came of a request: a closed set, and the metric's label.
// The reasons of package receiver belong to it too.
type outcome string

const (
	stored    outcome = "stored"
	duplicate outcome = "duplicate"
	answered  outcome = "answered" // a ping or a handshake

	unknownSource    outcome = "unknown_source"
	switchedOff      outcome = "switched_off"
	wrongMethod      outcome = "wrong_method"
	wrongType        outcome = "wrong_type"
	notHTTPS         outcome = "not_https"
	headersTooLarge  outcome = "headers_too_large"
	rateLimited      outcome = "rate_limited"
	overloaded       outcome = "overloaded"
	tooLarge         outcome = "too_large"
	tooSlow          outcome = "too_slow"
	truncated        outcome = "truncated"
	storeFull        outcome = "store_full"
	storeUnavailable outcome = "store_unavailable"
	broken           outcome = "broken" // our own failure
)

// A refusal is why a request is not accepted.
type refusal struct {
	outcome    outcome
	status     int
	retryAfter string           // seconds; empty where a resend is no use
	cause      error            // for the log; nil where the outcome says it all
	answer     *receiver.Answer // nil: the problem of the status

	verdict *receiver.Refusal // nil: it is not the receiver who refuses
}

// Error is the outcome and its cause.
func (r *refusal) Error() string {
	if r.cause == nil {
		return string(r.outcome)
	}
	return string(r.outcome) + ": " + r.cause.Error()
}

// asRefusal gives every error that can end a request its place in the table.
func asRefusal(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	if r, ok := errors.AsType[*receiver.Refusal](err); ok {
		mine := &refusal{outcome: outcome(r.Reason), status: r.Status, cause: errors.New(r.Detail), answer: r.Answer, verdict: r}
		if r.Status == http.StatusServiceUnavailable {
			mine.retryAfter = retryLater
		}
		return mine
	}
	return &refusal{outcome: broken, status: http.StatusInternalServerError, cause: err}
}

// errNotHTTPS tells the operator, who may have a proxy that speaks TLS.
var errNotHTTPS = errors.New("the source requires HTTPS: " +
	"serve TLS here, or name the proxy that does in BELAY_TRUSTED_PROXIES, or set require_https: false for a network of your own")

// problems are the bodies of refusals (https://www.rfc-editor.org/rfc/rfc9457).
// They tell an honest sender what to do and a forger nothing.
var problems = func() map[int][]byte {
	bodies := make(map[int][]byte)
	for status, detail := range map[int]string{
		http.StatusBadRequest:                  "The body could not be read.",
		http.StatusUnauthorized:                "The webhook could not be verified.",
		http.StatusForbidden:                   "Webhooks are received here over HTTPS, and from those who prove who they are.",
		http.StatusNotFound:                    "No webhook is received here.",
		http.StatusMethodNotAllowed:            "Webhooks are not received with this method.",
		http.StatusGone:                        "Webhooks of this source are not received any more.",
		http.StatusRequestTimeout:              "The body took too long.",
		http.StatusRequestEntityTooLarge:       "The body is too large.",
		http.StatusUnsupportedMediaType:        "Bodies of this content type are not received here.",
		http.StatusTooManyRequests:             "Too many webhooks come at once. Send it again later.",
		http.StatusRequestHeaderFieldsTooLarge: "The headers are too large.",
		http.StatusInternalServerError:         "Something went wrong here.",
		http.StatusServiceUnavailable:          "The webhook could not be stored now. Send it again later.",
	} {
		body, err := json.Marshal(struct {
			Title  string `json:"title"`
			Status int    `json:"status"`
			Detail string `json:"detail"`
		}{http.StatusText(status), status, detail})
		if err != nil {
			panic("ingress: " + err.Error()) // strings and a number have a JSON form
		}
		bodies[status] = body
	}
	return bodies
}()

// refuse answers, logs and counts a request that is not accepted.
func (s *Server) refuse(x *exchange, err error) {
	r := asRefusal(err)
	h := x.w.Header()
	if r.retryAfter != "" {
		h.Set("Retry-After", r.retryAfter)
	}
	if r.outcome == tooSlow || r.outcome == truncated {
		h.Set("Connection", "close") // where the next request begins is not known
	}
	if r.answer == nil {
		r.answer = &receiver.Answer{Status: r.status, ContentType: "application/problem+json", Body: problems[r.status]}
	}
	h.Set("Content-Length", strconv.Itoa(len(r.answer.Body)))
	r.answer.Send(x.w)

	level := slog.LevelWarn
	if r.outcome == unknownSource {
		level = slog.LevelInfo // the noise of the internet
	}
	attrs := x.attrs(r.outcome)
	attrs = append(attrs, slog.Int("status", r.status))
	if r.cause != nil {
		attrs = append(attrs, slog.String("detail", r.cause.Error()))
	}
	if r.verdict != nil {
		d := s.diagnose(x, r.verdict)
		attrs = append(attrs, slog.String("cause", string(d.Cause)))
		if d.Detail != "" {
			attrs = append(attrs, slog.String("found", d.Detail), slog.String("advice", d.Advice))
		}
		s.metrics.refused.WithLabelValues(x.source.Name(), string(r.verdict.Reason), string(d.Cause)).Inc()
	}
	s.line(x, level, "webhook refused", attrs)
	s.metrics.observe(x, r.outcome)
}

// accepted logs and counts a request that was answered with success.
func (s *Server) accepted(x *exchange, o outcome) {
	s.line(x, slog.LevelInfo, "webhook accepted", x.attrs(o))
	s.metrics.observe(x, o)
}

// line writes the line of a request. Every request has one, so it goes to the log's
// handler at once: the logger would look up who calls it, which is not in the line.
func (s *Server) line(x *exchange, level slog.Level, text string, attrs []slog.Attr) {
	ctx, handler := x.r.Context(), s.log.Handler()
	if !handler.Enabled(ctx, level) {
		return
	}
	record := slog.NewRecord(time.Now(), level, text, 0)
	record.AddAttrs(attrs...)
	_ = handler.Handle(ctx, record) // a logger passes its error over too
}

// attrs is the wide line. It holds nothing that a sender or an operator wants
// kept from a log: no body, no query, no header.
func (x *exchange) attrs(o outcome) []slog.Attr {
	attrs := make([]slog.Attr, 0, 11)
	attrs = append(attrs, slog.String("outcome", string(o)))
	if x.source != nil {
		attrs = append(attrs, slog.String("source", x.source.Name()))
	} else {
		const enough = 100 // of a path that leads nowhere
		attrs = append(attrs, slog.String("path", x.r.URL.Path[:min(len(x.r.URL.Path), enough)]))
	}
	if x.event != nil {
		attrs = append(attrs, slog.String("id", x.event.ID), slog.String("type", x.event.Type),
			slog.Bool("duplicate", o == duplicate))
	}
	if x.waited != "" {
		attrs = append(attrs, slog.String("answer", string(x.waited)))
	}
	return append(attrs, slog.String("client", x.origin.client), slog.Int("bytes", len(x.body)), slog.Int64("duration_us", time.Since(x.start).Microseconds()))
}
