package console

import (
	"context"
	"net/http"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/stream"
)

// The states of a chain.
const (
	chainRunning    = "running"
	chainPaused     = "paused"
	chainUnattended = "unattended" // no worker runs it: it was removed, or they are down
)

// chainView is the JSON form of a chain, as the broker knows it.
type chainView struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Ordered bool   `json:"ordered"`
	// Attended says that some worker runs it, or would if it were not paused.
	Attended bool `json:"attended"`
	// Paused tells who paused it, when and why.
	Paused *standing.Switch `json:"paused,omitempty"`
	// Backlog is how many events wait that the chain has not been handed yet, Held
	// how many it has in hand, or come again in a few seconds, Parked how many wait
	// for a retry.
	Backlog uint64 `json:"backlog"`
	Held    int    `json:"held"`
	Parked  uint64 `json:"parked"`
	// Oldest is when the first event came in that waits or is in hand.
	Oldest time.Time `json:"oldest,omitzero"`
	// Dead is how many of its dead letters are open.
	Dead   uint64      `json:"deadletters"`
	Shards []shardView `json:"shards"`
}

// shardView is a chain's work in one shard.
type shardView struct {
	Shard   int       `json:"shard"`
	Backlog uint64    `json:"backlog"`
	Held    int       `json:"held"`
	Oldest  time.Time `json:"oldest,omitzero"`
}

// chains are all that have consumers at the broker, by name.
func (s *Server) chains(ctx context.Context) (map[string]*stream.Backlog, error) {
	backlogs, err := s.broker.Backlogs(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]*stream.Backlog, len(backlogs))
	for _, l := range backlogs {
		all[l.Chain] = l
	}
	return all, nil
}

var noChain = rest.NewProblem(http.StatusNotFound, "there is no such chain: no worker has ever run it")

func (s *Server) chain(ctx context.Context, name string) (*stream.Backlog, error) {
	all, err := s.chains(ctx)
	if err != nil {
		return nil, err
	}
	if all[name] == nil {
		return nil, noChain
	}
	return all[name], nil
}

// view is all that is known of a chain.
func (s *Server) view(ctx context.Context, l *stream.Backlog, paused map[string]standing.Switch) (*chainView, error) {
	if err := s.broker.Measure(ctx, l); err != nil {
		return nil, err
	}
	v := &chainView{
		Name: l.Chain, State: chainRunning, Ordered: l.Ordered, Attended: l.Attended, Parked: l.Parked,
		Oldest: l.Oldest(), Shards: make([]shardView, 0, len(l.Shards)),
	}
	for _, at := range l.Shards {
		v.Backlog += at.Pending
		v.Held += at.InHand
		v.Shards = append(v.Shards, shardView{Shard: at.Shard, Backlog: at.Pending, Held: at.InHand, Oldest: at.Oldest})
	}
	if p, is := paused[l.Chain]; is {
		v.State, v.Paused = chainPaused, &p
	}
	if !l.Attended {
		v.State = chainUnattended
	}
	var err error
	v.Dead, err = s.broker.Count(ctx, stream.Range{Stream: stream.Dead, Filters: []string{stream.DeadEvents(l.Chain)}})
	return v, err
}

func (s *Server) listChains(w http.ResponseWriter, r *http.Request, _ string) error {
	if err := rest.NewQuery(r).Err(); err != nil {
		return err
	}
	backlogs, err := s.broker.Backlogs(r.Context())
	if err != nil {
		return err
	}
	paused, err := standing.Paused.All(r.Context(), s.broker)
	if err != nil {
		return err
	}
	answer := struct {
		Chains []*chainView `json:"chains"`
	}{make([]*chainView, 0, len(backlogs))}
	for _, l := range backlogs {
		v, err := s.view(r.Context(), l, paused)
		if err != nil {
			return err
		}
		answer.Chains = append(answer.Chains, v)
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", answer)
	return nil
}

func (s *Server) showChain(w http.ResponseWriter, r *http.Request, _ string) error {
	v, err := s.named(r.Context(), variable(r, "name"))
	if err != nil {
		return err
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", v)
	return nil
}

// named is all that is known of the chain of a name.
func (s *Server) named(ctx context.Context, name string) (*chainView, error) {
	l, err := s.chain(ctx, name)
	if err != nil {
		return nil, err
	}
	paused, err := standing.Paused.All(ctx, s.broker)
	if err != nil {
		return nil, err
	}
	return s.view(ctx, l, paused)
}

// switchChain pauses or resumes a chain.
func (s *Server) switchChain(w http.ResponseWriter, r *http.Request, who string) error {
	name := variable(r, "name")
	why, err := whyOf(w, r)
	if err != nil {
		return err
	}
	if _, err := s.chain(r.Context(), name); err != nil {
		return err
	}
	if err := s.flip(r.Context(), standing.Paused, name, variable(r, "verb") == "pause", who, why); err != nil {
		return err
	}
	return s.showChain(w, r, who)
}

// flip switches a chain or a source, or switches it back.
func (s *Server) flip(ctx context.Context, kind standing.SwitchKind, name string, on bool, who, why string) error {
	verb, err := "switched back", error(nil)
	if on {
		verb = "switched"
		_, err = kind.Set(ctx, s.broker, name, standing.Switch{By: who, Why: why, At: time.Now().UTC()})
	} else {
		err = kind.Unset(ctx, s.broker, name)
	}
	if err != nil {
		return err
	}
	s.audit(verb, who, "switch", kind, "name", name, "why", why)
	return nil
}

// whyOf reads a request that may give a reason, and nothing else.
func whyOf(w http.ResponseWriter, r *http.Request) (string, error) {
	f, err := bodyOf(w, r)
	if err != nil {
		return "", err
	}
	f.Only("why")
	why := f.Text("why", maxText)
	return why, f.Err()
}

// deleteChain removes a chain that no worker runs, and its backlog.
func (s *Server) deleteChain(w http.ResponseWriter, r *http.Request, who string) error {
	c, err := s.named(r.Context(), variable(r, "name"))
	switch {
	case err != nil:
		return err
	case c.Attended:
		return rest.NewProblem(http.StatusConflict, "a worker runs the chain: take it out of every configuration first")
	}
	if err := s.broker.DeleteChain(r.Context(), c.Name); err != nil {
		return err
	}
	if err := standing.Paused.Unset(r.Context(), s.broker, c.Name); err != nil {
		return err
	}
	s.audit("chain deleted", who, "chain", c.Name, "backlog", c.Backlog, "held", c.Held, "parked", c.Parked)
	rest.WriteJSON(w, http.StatusOK, "application/json", c)
	return nil
}
