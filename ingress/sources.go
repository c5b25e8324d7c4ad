package ingress

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/time/rate"

	"github.com/belay-hooks/belay/pkg/receiver"
)

// A source is a source at this door.
type source struct {
	*receiver.Source
	limiter   *rate.Limiter // nil: any number is accepted
	diagnoses *rate.Limiter
	metrics   sourceMetrics
}

// sources maps names (github/default) to sources. Under its aliases a receiver
// has the same ones.
type sources map[string]*source

// Reload replaces the sources, all at once. Requests in hand keep theirs, and
// what a source has used of its rate stays used. It fails, and changes nothing,
// if two have one name.
func (s *Server) Reload(all []*receiver.Source) error {
	table := make(sources, len(all))
	for _, one := range all {
		if table[one.Name()] != nil {
			return fmt.Errorf("ingress: two sources are called %s: give one of them another id", one.Name())
		}
		table[one.Name()] = &source{Source: one, diagnoses: newDiagnoses(), metrics: s.metrics.of(one.Name())}
	}
	var before sources
	if old := s.sources.Load(); old != nil {
		before = *old
	}
	for _, one := range all {
		for _, alias := range one.Receiver().Aliases {
			table[alias+"/"+one.ID()] = table[one.Name()]
		}
	}
	for name, one := range table {
		if name != one.Name() {
			continue
		}
		one.limit(before[name])
		if largest := s.room.largest(); one.MaxBody() > largest {
			s.log.Warn("bodies are refused that the source would accept: there is no room for them; raise the bytes in flight, or the memory limit",
				"source", name, "max_body", one.MaxBody(), "refused_above", largest)
		}
	}
	s.sources.Store(&table)
	return nil
}

// limit makes the source's limiter, or takes that of the source before.
func (s *source) limit(before *source) {
	r := s.Rate()
	if r.PerSecond == 0 {
		return
	}
	if before == nil || before.limiter == nil {
		s.limiter = rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)
		return
	}
	s.limiter = before.limiter
	s.limiter.SetLimit(rate.Limit(r.PerSecond))
	s.limiter.SetBurst(r.Burst)
}

// overRate refuses what is over the source's rate. It takes nothing: only what
// is verified counts, or anybody could use up the rate of an honest sender.
func (s *source) overRate() error {
	if s.limiter == nil || s.limiter.Tokens() >= 1 {
		return nil
	}
	return s.rateLimited()
}

// countVerified counts a verified request, or refuses it.
func (s *source) countVerified() error {
	if s.limiter == nil || s.limiter.Allow() {
		return nil
	}
	return s.rateLimited()
}

// rateLimited asks the sender to wait until one more is accepted.
func (s *source) rateLimited() error {
	wait := math.Ceil((1 - s.limiter.Tokens()) / float64(s.limiter.Limit()))
	seconds := int(min(max(wait, 1), maxRetryAfter))
	return &refusal{outcome: rateLimited, status: http.StatusTooManyRequests, retryAfter: strconv.Itoa(seconds)}
}

// find returns the source of a URL; nil if there is none.
func (t sources) find(name, id string) *source {
	if id == "" {
		id = "default"
	}
	if source := t[name+"/"+id]; source != nil {
		return source
	}
	return t[strings.ToLower(name)+"/"+id]
}
