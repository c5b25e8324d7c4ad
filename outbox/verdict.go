package outbox

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Reason says why an attempt, or a delivery, came out as it did. The set is
// closed; it is the label of the metrics too.
type Reason string

// The reasons.
const (
	ReasonAccepted    Reason = "accepted"              // 2xx
	ReasonGone        Reason = "gone"                  // 410: the subscription is disabled
	ReasonRedirect    Reason = "redirect"              // 3xx: redirects are not followed
	ReasonRateLimited Reason = "rate_limited"          // 429
	ReasonRefused     Reason = "refused"               // other 4xx
	ReasonUnavailable Reason = "unavailable"           // 503
	ReasonServerError Reason = "server_error"          // other 5xx, and statuses that no standard knows
	ReasonTimeout     Reason = "timeout"               // no answer within the time-out
	ReasonDNS         Reason = "dns"                   // the host's name could not be resolved
	ReasonTLS         Reason = "tls"                   // no secure connection, or a certificate that is not trusted
	ReasonConnection  Reason = "connection"            // refused, reset, or not HTTP
	ReasonAddress     Reason = "address_refused"       // the address policy forbids where the name leads
	ReasonExpired     Reason = "expired"               // the notification's body is no longer kept
	ReasonDeleted     Reason = "subscription_deleted"  // nobody is left to be told
	ReasonDisabled    Reason = "subscription_disabled" // it was disabled while the delivery waited
	ReasonFailing     Reason = "failing"               // every attempt has failed for days: the subscription is disabled
	ReasonUnreadable  Reason = "unreadable"            // the stored delivery or notification is damaged
	ReasonCancelled   Reason = "cancelled"             // somebody does not want it sent any more
	ReasonShutdown    Reason = "shutdown"              // the outbox stopped before the attempt ended
)

// decision is what becomes of a delivery.
type decision string

const (
	delivered decision = "delivered"
	retry     decision = "retry"     // another attempt, at verdict.at
	gone      decision = "gone"      // delivered no more; the subscription is disabled
	dead      decision = "dead"      // given up, kept as a dead letter
	cancelled decision = "cancelled" // somebody has ordered so, or nobody is left to be told
	giveBack  decision = "give_back" // not attempted, or not to its end
)

// verdict is what an attempt came to.
type verdict struct {
	decision decision
	reason   Reason
	at       time.Time // of the next attempt, for retry
}

// outcome is what is known after one HTTP request.
type outcome struct {
	status     int    // 0: no answer
	retryAfter string // the header Retry-After
	reason     Reason // why there is no answer; ignored if there is one
}

// policy decides by the schedule.
type policy struct {
	// schedule[n-1] is the wait after attempt n.
	schedule []time.Duration
}

// decide turns the outcome of an attempt, counted from 1, into a verdict. It is
// a function of its arguments alone; chance is from 0 to 1 and spreads the
// retries.
//
//	answer                decision
//	2xx                   delivered
//	410                   gone: the subscription is disabled
//	429, 503              retry by the schedule, not before Retry-After
//	anything else, none   retry by the schedule
//	…after the last one   dead
func (p policy) decide(o outcome, attempt int, now time.Time, chance float64) verdict {
	reason := o.reason
	if o.status != 0 {
		reason = reasonOf(o.status)
	}
	switch {
	case reason == ReasonAccepted:
		return verdict{decision: delivered, reason: reason}
	case reason == ReasonGone:
		return verdict{decision: gone, reason: reason}
	case attempt > len(p.schedule):
		return verdict{decision: dead, reason: reason}
	}
	wait := p.schedule[max(attempt, 1)-1]
	if reason == ReasonRateLimited || reason == ReasonUnavailable {
		wait = max(wait, parseRetryAfter(o.retryAfter, now))
	}
	wait += time.Duration(float64(wait) * jitter * chance)
	return verdict{decision: retry, reason: reason, at: now.Add(wait)}
}

// endOf is what an outcome says about the endpoint: one that answers serves, unless
// it says itself that it does not.
func endOf(o outcome, now time.Time) ended {
	reason := o.reason
	if o.status != 0 {
		reason = reasonOf(o.status)
	}
	switch reason {
	case ReasonAccepted, ReasonGone, ReasonRedirect, ReasonRefused:
		return ended{served: true}
	case ReasonRateLimited, ReasonUnavailable:
		return ended{putOff: parseRetryAfter(o.retryAfter, now)}
	}
	return ended{}
}

func reasonOf(status int) Reason {
	switch {
	case status >= 200 && status < 300:
		return ReasonAccepted
	case status >= 300 && status < 400:
		return ReasonRedirect
	case status == http.StatusGone:
		return ReasonGone
	case status == http.StatusTooManyRequests:
		return ReasonRateLimited
	case status >= 400 && status < 500:
		return ReasonRefused
	case status == http.StatusServiceUnavailable:
		return ReasonUnavailable
	}
	return ReasonServerError
}

// parseRetryAfter reads a header Retry-After, seconds or a date
// (https://www.rfc-editor.org/rfc/rfc9110#name-retry-after), as a wait from 0 to
// maxRetryAfter. What cannot be read is no wait.
func parseRetryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0
	}
	if strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter // more digits than a number holds
		}
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), maxRetryAfter)
}
