package console

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// The names of the consumers that a chain has of each IN stream, and of RETRY.
const (
	chainConsumer   = "chain-"
	orderedConsumer = "ordered-"
)

// chainView is the JSON form of a chain, as the broker knows it.
type chainView struct {
	Name    string `json:"name"`
	Ordered bool   `json:"ordered"`
	// Backlog is how many events wait that the chain has not been handed yet, Held
	// how many it has in hand, Parked how many wait for a retry.
	Backlog uint64 `json:"backlog"`
	Held    int    `json:"held"`
	Parked  uint64 `json:"parked"`
	// Dead is how many of its dead letters are open.
	Dead uint64 `json:"deadletters"`

	filters []string
}

// chains are all that have consumers at the broker, by name, without what they have
// parked and given up.
func (s *Server) chains(ctx context.Context) (map[string]*chainView, error) {
	all := make(map[string]*chainView)
	for shard := range s.broker.Shards() {
		standings, err := s.broker.Standings(ctx, stream.In(shard))
		if err != nil {
			return nil, err
		}
		for _, at := range standings {
			name, ordered := strings.CutPrefix(at.Name, orderedConsumer)
			if !ordered {
				var plain bool
				if name, plain = strings.CutPrefix(at.Name, chainConsumer); !plain {
					continue
				}
			}
			c := all[name]
			if c == nil {
				c = &chainView{Name: name, Ordered: ordered, filters: at.Filters}
				all[name] = c
			}
			c.Backlog += at.Pending
			c.Held += at.Held
		}
	}
	return all, nil
}

var noChain = rest.NewProblem(http.StatusNotFound, "there is no such chain: no worker has ever run it")

func (s *Server) chain(ctx context.Context, name string) (*chainView, error) {
	all, err := s.chains(ctx)
	if err != nil {
		return nil, err
	}
	if all[name] == nil {
		return nil, noChain
	}
	return all[name], nil
}

// fill adds what a chain has parked and given up.
func (s *Server) fill(ctx context.Context, c *chainView) (err error) {
	if c.Dead, err = s.broker.Count(ctx, stream.Range{Stream: stream.Dead, Filters: []string{stream.DeadEvents(c.Name)}}); err != nil {
		return err
	}
	c.Parked, err = s.broker.Parked(ctx, c.Name)
	return err
}

func (s *Server) listChains(w http.ResponseWriter, r *http.Request, _ string) error {
	if err := rest.NewQuery(r).Err(); err != nil {
		return err
	}
	all, err := s.chains(r.Context())
	if err != nil {
		return err
	}
	answer := struct {
		Chains []*chainView `json:"chains"`
	}{[]*chainView{}}
	for _, c := range all {
		if err := s.fill(r.Context(), c); err != nil {
			return err
		}
		answer.Chains = append(answer.Chains, c)
	}
	slices.SortFunc(answer.Chains, func(a, b *chainView) int { return strings.Compare(a.Name, b.Name) })
	rest.WriteJSON(w, http.StatusOK, "application/json", answer)
	return nil
}

func (s *Server) showChain(w http.ResponseWriter, r *http.Request, _ string) error {
	c, err := s.chain(r.Context(), variable(r, "name"))
	if err == nil {
		err = s.fill(r.Context(), c)
	}
	if err != nil {
		return err
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", c)
	return nil
}

// sourceView is the JSON form of a source.
type sourceView struct {
	Receiver string `json:"receiver"`
	ID       string `json:"id"`
	// Stored is how many of its events are kept.
	Stored uint64 `json:"stored"`
}

// SetSources tells the console the sources of the configuration, each written
// receiver/id.
func (s *Server) SetSources(names []string) { s.sources.Store(&names) }

func (s *Server) listSources(w http.ResponseWriter, r *http.Request, _ string) error {
	if err := rest.NewQuery(r).Err(); err != nil {
		return err
	}
	answer := struct {
		Sources []sourceView `json:"sources"`
	}{[]sourceView{}}
	var names []string
	if known := s.sources.Load(); known != nil {
		names = *known
	}
	for _, name := range names {
		receiver, id, _ := strings.Cut(name, "/")
		v := sourceView{Receiver: receiver, ID: id}
		for shard := range s.broker.Shards() {
			n, err := s.broker.Count(r.Context(), stream.Range{Stream: stream.In(shard), Filters: event.Filters([]string{name}, nil)})
			if err != nil {
				return err
			}
			v.Stored += n
		}
		answer.Sources = append(answer.Sources, v)
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", answer)
	return nil
}
