package receiver

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A paper is something to fetch and to keep.
type paper struct {
	key     string // in the cache
	request outgoing
	// parse reads it, and may say until when it is good at most.
	parse func(body []byte, now time.Time) (value any, until time.Time, err error)
	// allowed, if it is there, bounds how often papers that requests name are
	// fetched: it is asked before each fetch of one that was never had.
	allowed func(now time.Time) bool
}

// get is the parsed paper, from the cache where it is new enough. With refresh
// one that is older than a minute is fetched again.
func (f *Fetcher) get(ctx context.Context, p paper, now time.Time, refresh bool) (any, error) {
	if c, ok := f.look(p.key, now, refresh); ok {
		return c.settle(now, refresh)
	}
	if p.allowed != nil && !f.knows(p.key) && !p.allowed(now) {
		return nil, fmt.Errorf("too many documents are asked for at once")
	}
	flight := f.flights.DoChan(p.key, func() (any, error) {
		// Others wait for it too, and more may come: it outlives the request that
		// began it, by its time-out at most.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		if c, ok := f.look(p.key, now, refresh); ok {
			return c, nil // a flight before this one brought it
		}
		return f.fetch(ctx, p, now), nil
	})
	select {
	case result := <-flight:
		return result.Val.(fetched).settle(now, refresh) //nolint:forcetypeassert // of the function above
	case <-ctx.Done():
		return nil, fmt.Errorf("%s %s: %w", p.request.method, host(p.request.url), context.Cause(ctx))
	}
}

// look is what the cache says, if it can say anything.
func (f *Fetcher) look(key string, now time.Time, refresh bool) (fetched, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.cached[key]
	if c == nil {
		return fetched{}, false
	}
	c.used = now
	switch age := now.Sub(c.tried); {
	case c.err != nil:
		return *c, age < retryAfterFailure
	case refresh && age >= refreshAfter:
		return fetched{}, false
	}
	return *c, now.Before(c.until)
}

// knows reports whether the document was had before: it is no stranger's making.
func (f *Fetcher) knows(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.cached[key]
	return c != nil && c.value != nil
}

// settle is what the document is good for. While its server fails, an old one is
// better than none, but says nothing about what is new.
func (c fetched) settle(now time.Time, refresh bool) (any, error) {
	if c.err != nil && (refresh || c.value == nil || !now.Before(c.until.Add(staleFor))) {
		return nil, c.err
	}
	return c.value, nil
}

// fetch gets the paper from its server and keeps what came of it.
func (f *Fetcher) fetch(ctx context.Context, p paper, now time.Time) fetched {
	value, until, err := f.read(ctx, p, now)
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.cached[p.key]
	if c == nil {
		f.makeRoom()
		c = &fetched{}
		f.cached[p.key] = c
	}
	c.tried, c.used, c.err = now, now, err
	if err == nil {
		c.value, c.until = value, until
	}
	return *c
}

func (f *Fetcher) read(ctx context.Context, p paper, now time.Time) (any, time.Time, error) {
	if !f.slots.TryAcquire(1) {
		return nil, time.Time{}, fmt.Errorf("%d fetches of keys are under way, which is the most", maxFetches)
	}
	defer f.slots.Release(1)
	got, err := f.do(ctx, p.request)
	if err != nil {
		return nil, time.Time{}, err
	}
	if got.status != http.StatusOK {
		return nil, time.Time{}, fmt.Errorf("%s %s: status %d", p.request.method, host(p.request.url), got.status)
	}
	value, end, err := p.parse(got.body, now)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%s %s: %w", p.request.method, host(p.request.url), err)
	}
	until := now.Add(freshFor(got.header))
	if soonest := now.Add(refreshAfter); end.IsZero() || end.After(until) {
		return value, until, nil
	} else if end.Before(soonest) {
		end = soonest // what has ended is no reason to ask for every request
	}
	until = end
	return value, until, nil
}

// makeRoom forgets a failure, or else what was not used for the longest time: who
// makes URLs up does not drive out the good ones.
func (f *Fetcher) makeRoom() {
	if len(f.cached) < maxCached {
		return
	}
	var (
		victim string
		worst  *fetched
	)
	for key, c := range f.cached {
		if worst == nil || (c.value == nil) != (worst.value == nil) && c.value == nil ||
			(c.value == nil) == (worst.value == nil) && c.used.Before(worst.used) {
			victim, worst = key, c
		}
	}
	delete(f.cached, victim)
}

// freshFor is how long a document is new, by its Cache-Control
// (https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2) and within bounds.
func freshFor(h http.Header) time.Duration {
	fresh := unknownFresh
	for directive := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return minFresh
		case "max-age":
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err == nil {
				fresh = time.Duration(seconds) * time.Second
			}
		}
	}
	return min(max(fresh, minFresh), maxFresh)
}

// host is the host of a checked URL, for errors.
func host(text string) string {
	rest, _ := strings.CutPrefix(text, "https://")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		return rest
	}
	return rest[:end]
}
