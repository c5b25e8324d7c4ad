package config

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
)

// nameForm is the form of all names: they are parts of subjects, of names of the
// broker's assets and of URLs.
var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

const wantName = "want 1 to 63 of a-z, 0-9, - and _, beginning with a letter or a digit"

// maxBodyLimit is the largest body that a source may allow.
const maxBodyLimit = 64 << 20

// maxHeaderLimit is the largest size of headers that a source may set: the
// ingress reads no more.
const maxHeaderLimit = 32 << 10

// A validator collects what is wrong with the values of a file.
type validator struct {
	file     *File
	bad      map[string]bool // told already: nothing more is said about what is there or below
	problems Problems
}

func (f *File) validate(bad map[string]bool) Problems {
	v := &validator{file: f, bad: bad}
	if f.Generation < 0 {
		v.wrong("generation", fmt.Sprint(f.Generation), "want 0 or more")
	}
	for _, name := range slices.Sorted(maps.Keys(f.Receivers)) {
		v.name(child("receivers", name), name)
	}
	names := v.sources()
	seen := map[string]int{}
	for i := range f.Chains {
		c, path := &f.Chains[i], element("chains", i)
		v.unique(seen, path+".name", c.Name, "chain")
		v.chain(c, path, names)
	}
	for i := range f.Sources {
		v.answer(&f.Sources[i], element("sources", i)+".answer")
	}
	return v.problems
}

func (v *validator) wrong(path, value, want string) {
	for at := path; ; {
		if v.bad[at] {
			return
		}
		cut := strings.LastIndexAny(at, ".[")
		if cut < 0 {
			break
		}
		at = at[:cut]
	}
	v.problems = append(v.problems, &Problem{
		File: v.file.path, Line: v.file.index.line(path),
		Err: &FieldError{Path: path, Value: value, Want: want},
	})
}

// unique checks a name's form, and that no earlier one of its kind is the same.
func (v *validator) unique(seen map[string]int, path, name, kind string) {
	if !v.name(path, name) {
		return
	}
	line := v.file.index.line(path)
	if first, twice := seen[name]; twice {
		v.wrong(path, name, fmt.Sprintf("the %s of line %d has this name, want another", kind, first))
		return
	}
	seen[name] = line
}

func (v *validator) name(path, name string) bool {
	switch {
	case name == "":
		v.wrong(path, "", "missing, "+wantName)
	case !nameForm.MatchString(name):
		v.wrong(path, name, wantName)
	default:
		return true
	}
	return false
}

// sources returns the names that a from may use: receivers and receiver/id.
func (v *validator) sources() map[string]bool {
	names := map[string]bool{}
	lines := map[string]int{}
	for i := range v.file.Sources {
		s, path := &v.file.Sources[i], element("sources", i)
		receiver, id := v.name(path+".receiver", s.Receiver), v.name(path+".id", s.ID)
		v.positive(path+".tolerance", s.Tolerance)
		v.positive(path+".timeout", s.Timeout)
		if v.file.index.has(path+".max_body") && (s.MaxBody < 1 || s.MaxBody > maxBodyLimit) {
			v.wrong(path+".max_body", fmt.Sprint(s.MaxBody), fmt.Sprintf("want 1 to %d bytes", maxBodyLimit))
		}
		if v.file.index.has(path+".max_header") && (s.MaxHeader < 1 || s.MaxHeader > maxHeaderLimit) {
			v.wrong(path+".max_header", fmt.Sprint(s.MaxHeader), fmt.Sprintf("want 1 to %d bytes", maxHeaderLimit))
		}
		v.rateLimit(s.RateLimit, path+".rate_limit")
		if s.Gone != "" && s.Gone != GoneSwitchesOff {
			v.wrong(path+".gone", s.Gone, "want switch_off, or nothing")
		}
		if !receiver || !id {
			continue
		}
		if first, twice := lines[s.Name()]; twice {
			v.wrong(path, s.Name(), fmt.Sprintf("the source of line %d has this receiver and id, want another id", first))
		} else {
			lines[s.Name()] = v.file.index.line(path)
		}
		names[s.Receiver], names[s.Name()] = true, true
	}
	return names
}

func (v *validator) rateLimit(r *RateLimit, path string) {
	const most = 1_000_000
	switch {
	case r == nil:
		return
	case !v.file.index.has(path + ".per_second"):
		v.wrong(path+".per_second", "", "missing, want how many webhooks in a second, such as 50 or 0.5")
	case !(r.PerSecond > 0 && r.PerSecond <= most):
		v.wrong(path+".per_second", fmt.Sprint(r.PerSecond), fmt.Sprintf("want a number above 0, at most %d", most))
	}
	if v.file.index.has(path+".burst") && (r.Burst < 1 || r.Burst > most) {
		v.wrong(path+".burst", fmt.Sprint(r.Burst), fmt.Sprintf("want 1 to %d", most))
	}
}

func (v *validator) from(path string, from []string, names map[string]bool) {
	for i, name := range from {
		if !names[name] {
			v.wrong(element(path, i), name, "want a receiver (github) or a source (github/eu) of the sources above")
		}
	}
}

func (v *validator) chain(c *Chain, path string, names map[string]bool) {
	v.from(path+".from", c.From, names)
	for i, pattern := range c.Events {
		if _, err := event.ParsePattern(pattern); err != nil {
			v.wrong(element(path+".events", i), pattern, "want a name such as push, pull_request.* or *, with * for a whole token")
		}
	}
	if _, isTime := c.StartTime(); !isTime && c.Start != "now" && c.Start != "earliest" {
		v.wrong(path+".start", c.Start, "want now, earliest or a time such as 2026-11-22T10:00:00Z")
	}
	if c.Concurrency < 1 || c.Concurrency > 10_000 {
		v.wrong(path+".concurrency", fmt.Sprint(c.Concurrency), "want 1 to 10000")
	}
	if c.MaxWaiting < 1 || c.MaxWaiting > 1_000_000 {
		v.wrong(path+".max_waiting", fmt.Sprint(c.MaxWaiting), "want 1 to 1000000 events")
	}
	if c.MaxWaitingBytes < 1 {
		v.wrong(path+".max_waiting_bytes", fmt.Sprint(c.MaxWaitingBytes), "want 1 byte or more")
	}
	v.retry(c.Retry, path+".retry")
	v.checkpoint(path+".checkpoint", c.Checkpoint)
	if len(c.Handlers) == 0 {
		v.wrong(path+".handlers", "", "missing, want at least one handler")
	}
	seen := map[string]int{}
	for i := range c.Handlers {
		h, path := &c.Handlers[i], element(path+".handlers", i)
		v.unique(seen, path+".name", h.Name, "handler")
		v.from(path+".from", h.From, names)
		v.retry(h.Retry, path+".retry")
		v.handler(h, path)
	}
}

func (v *validator) retry(r *Retry, path string) {
	if r == nil {
		return
	}
	if r.Attempts < 1 || r.Attempts > 1000 {
		v.wrong(path+".attempts", fmt.Sprint(r.Attempts), "want 1 to 1000")
	}
	if !(r.Factor >= 1 && r.Factor <= 100) {
		v.wrong(path+".factor", fmt.Sprint(r.Factor), "want 1 to 100")
	}
	if !(r.Jitter >= 0 && r.Jitter <= 1) {
		v.wrong(path+".jitter", fmt.Sprint(r.Jitter), "want 0 to 1")
	}
	v.positive(path+".first", r.First)
	v.positive(path+".max", r.Max)
	v.positive(path+".give_up", r.GiveUp)
	if r.Max < r.First && r.Max > 0 {
		v.wrong(path+".max", r.Max.String(), "want no less than first, "+r.First.String())
	}
	if limit := Duration(365 * 24 * time.Hour); r.GiveUp > limit {
		v.wrong(path+".give_up", r.GiveUp.String(), "want at most "+limit.String())
	}
}

func (v *validator) http(h *HTTP, path string) {
	if h.URL == "" {
		v.wrong(path+".url", "", "missing, want an absolute http or https URL")
	} else if u, err := url.Parse(h.URL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Fragment != "" {
		v.wrong(path+".url", shownURL(u), "want an absolute http or https URL")
	}
	v.positive(path+".timeout", h.Timeout)
	v.headers(h.Headers, path+".headers")
	if h.Response && h.Keep != "" {
		v.wrong(path+".keep", h.Keep, "want no keep beside response, which ends the chain")
	}
	if h.Keep != "" {
		v.name(path+".keep", h.Keep)
	}
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// shownURL is as much of a URL as cannot hold a credential: people put them into
// the user part, the query and, with some providers, the path.
func shownURL(u *url.URL) string {
	switch {
	case u == nil:
		return ""
	case u.Host != "":
		return u.Scheme + "://" + u.Host + "/…"
	case u.Opaque != "":
		return u.Scheme + ":…"
	}
	return u.Path
}

func (v *validator) notify(n *Notify, path string) {
	if n.Type == "" || len(n.Type) > 255 || strings.ContainsAny(n.Type, "* \t\r\n") {
		v.wrong(path+".type", n.Type, "want the notification's type, such as deploy.requested")
	}
	v.name(path+".tenant", n.Tenant)
}

func (v *validator) log(l *Log, path string) {
	switch l.Level {
	case "debug", "info", "warn", "error":
	default:
		v.wrong(path+".level", l.Level, "want debug, info, warn or error")
	}
}

// positive checks a duration that the file sets, or that has a default.
func (v *validator) positive(path string, d Duration) {
	if d < 0 || d == 0 && v.file.index.has(path) {
		v.wrong(path, d.String(), "want a duration above 0")
	}
}
