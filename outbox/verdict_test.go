package outbox

import (
	"testing"
	"time"
)

func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	p := policy{schedule: []time.Duration{5 * time.Second, 5 * time.Minute}}
	after := func(d time.Duration, r Reason) verdict { return verdict{retry, r, now.Add(d)} }
	cases := []struct {
		name    string
		outcome outcome
		attempt int
		chance  float64
		want    verdict
	}{
		{"200", outcome{status: 200}, 1, 0, verdict{decision: delivered, reason: ReasonAccepted}},
		{"299", outcome{status: 299}, 1, 0, verdict{decision: delivered, reason: ReasonAccepted}},
		{"2xx on the last attempt", outcome{status: 204}, 3, 0, verdict{decision: delivered, reason: ReasonAccepted}},
		{"199", outcome{status: 199}, 1, 0, after(5*time.Second, ReasonServerError)},
		{"300", outcome{status: 300}, 1, 0, after(5*time.Second, ReasonRedirect)},
		{"308", outcome{status: 308}, 1, 0, after(5*time.Second, ReasonRedirect)},
		{"400", outcome{status: 400}, 1, 0, after(5*time.Second, ReasonRefused)},
		{"404", outcome{status: 404}, 2, 0, after(5*time.Minute, ReasonRefused)},
		{"410", outcome{status: 410}, 1, 0, verdict{decision: gone, reason: ReasonGone}},
		{"410 on the last attempt", outcome{status: 410}, 3, 0, verdict{decision: gone, reason: ReasonGone}},
		{"429", outcome{status: 429}, 1, 0, after(5*time.Second, ReasonRateLimited)},
		{"429 in seconds", outcome{status: 429, retryAfter: "60"}, 1, 0, after(time.Minute, ReasonRateLimited)},
		{"429 sooner than the schedule", outcome{status: 429, retryAfter: "1"}, 1, 0, after(5*time.Second, ReasonRateLimited)},
		{"429 as a date", outcome{status: 429, retryAfter: "Sun, 22 Nov 2026 10:02:00 GMT"}, 1, 0, after(2*time.Minute, ReasonRateLimited)},
		{"429 in the past", outcome{status: 429, retryAfter: "Sun, 22 Nov 2026 09:00:00 GMT"}, 1, 0, after(5*time.Second, ReasonRateLimited)},
		{"429 clamped", outcome{status: 429, retryAfter: "99999999"}, 1, 0, after(24*time.Hour, ReasonRateLimited)},
		{"429 beyond numbers", outcome{status: 429, retryAfter: "99999999999999999999999"}, 1, 0, after(24*time.Hour, ReasonRateLimited)},
		{"429 far date", outcome{status: 429, retryAfter: "Sun, 22 Nov 2099 09:00:00 GMT"}, 1, 0, after(24*time.Hour, ReasonRateLimited)},
		{"429 negative", outcome{status: 429, retryAfter: "-5"}, 1, 0, after(5*time.Second, ReasonRateLimited)},
		{"429 nonsense", outcome{status: 429, retryAfter: "soon"}, 1, 0, after(5*time.Second, ReasonRateLimited)},
		{"429 on the last attempt", outcome{status: 429, retryAfter: "1"}, 3, 0, verdict{decision: dead, reason: ReasonRateLimited}},
		{"503", outcome{status: 503, retryAfter: "120"}, 1, 0, after(2*time.Minute, ReasonUnavailable)},
		{"500 does not choose", outcome{status: 500, retryAfter: "120"}, 1, 0, after(5*time.Second, ReasonServerError)},
		{"502", outcome{status: 502}, 1, 0, after(5*time.Second, ReasonServerError)},
		{"999", outcome{status: 999}, 1, 0, after(5*time.Second, ReasonServerError)},
		{"time-out", outcome{reason: ReasonTimeout}, 1, 0, after(5*time.Second, ReasonTimeout)},
		{"reset on the last attempt", outcome{reason: ReasonConnection}, 3, 0, verdict{decision: dead, reason: ReasonConnection}},
		{"after the last attempt", outcome{reason: ReasonDNS}, 9, 0, verdict{decision: dead, reason: ReasonDNS}},
		{"jitter", outcome{status: 500}, 2, 0.5, after(5*time.Minute+30*time.Second, ReasonServerError)},
		{"jitter after Retry-After", outcome{status: 429, retryAfter: "100"}, 1, 1, after(2*time.Minute, ReasonRateLimited)},
		{"all jitter", outcome{status: 500}, 1, 1, after(6*time.Second, ReasonServerError)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := p.decide(c.outcome, c.attempt, now, c.chance); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestNoRetries(t *testing.T) {
	if got := (policy{}).decide(outcome{status: 500}, 1, time.Now(), 0); got.decision != dead {
		t.Errorf("got %+v, want dead after the only attempt", got)
	}
}

func TestDefaultSchedule(t *testing.T) {
	var total time.Duration
	for _, wait := range DefaultSchedule() {
		total += wait
	}
	if want := 27*time.Hour + 35*time.Minute + 5*time.Second; total != want {
		t.Errorf("the last attempt is made after %s, want %s", total, want)
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "0", "120", "Sun, 22 Nov 2026 10:02:00 GMT", "-1", "1e9", " 5 "} {
		f.Add(seed)
	}
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		if d := parseRetryAfter(text, now); d < 0 || d > maxRetryAfter {
			t.Fatalf("%q is a wait of %s", text, d)
		}
	})
}
