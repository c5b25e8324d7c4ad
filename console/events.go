package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// eventAnswer is the JSON form of one event, and of what became of it.
type eventAnswer struct {
	*eventView
	Stored time.Time   `json:"stored"`
	Shard  int         `json:"shard"`
	Seq    uint64      `json:"seq"`
	Header http.Header `json:"headers,omitempty"`
	rest.Body
	Chains []standingView `json:"chains"`
}

// standingView is where a chain stands in an event, in one run.
type standingView struct {
	Chain string `json:"chain"`
	Run   int    `json:"run"`
	// State: waiting, at work, retrying, done, responded, dead, erased, or passed,
	// where the chain began later than the event came in, or its condition does not
	// take it.
	State    string `json:"state"`
	Attempts int    `json:"attempts,omitempty"`
	// Handlers that ran last, Handler the next one of an event that is tried again,
	// and Until when; Error of the last attempt that failed.
	Handlers []string  `json:"handlers,omitempty"`
	Handler  string    `json:"handler,omitempty"`
	Until    time.Time `json:"until,omitzero"`
	Error    string    `json:"error,omitempty"`
	// Letters are the ids of its open dead letters.
	Letters []string `json:"deadletters,omitempty"`
	Status  int      `json:"status,omitempty"` // of a Response
}

// lookFor bounds how long it is searched for an event and its history.
const lookFor = 60 * time.Second

var noEvent = rest.NewProblem(http.StatusNotFound, "there is no such event; it may be older than what is kept")

func (s *Server) showEvent(w http.ResponseWriter, r *http.Request, _ string) error {
	q := rest.NewQuery(r)
	key := q.Text("key")
	if err := q.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookFor)
	defer cancel()
	receiver, source, id := variable(r, "receiver"), variable(r, "source"), variable(r, "id")
	t, err := s.tombstone(ctx, receiver, source, id)
	if err != nil {
		return err
	}
	m, err := s.find(ctx, receiver, source, id, key)
	var e *event.Event
	if err == nil {
		e, err = s.broker.ReadEvent(ctx, m)
	}
	if errors.Is(err, stream.ErrNotFound) {
		err = noEvent // it went as it was read
	}
	if t != nil && errors.Is(err, noEvent) {
		return rest.NewProblem(http.StatusGone, fmt.Sprintf("the content of the event was erased by %s at %s", t.By, t.At.Format(time.RFC3339)))
	}
	if err != nil {
		return err
	}
	shard, err := stream.ShardOf(m.Stream)
	if err != nil {
		return err
	}
	answer := eventAnswer{eventView: viewEvent(e), Stored: m.Time, Shard: shard, Seq: m.Seq, Header: e.Header}
	answer.SetBody(e.Body)
	if answer.Chains, err = s.standings(ctx, m, shard); err != nil {
		return err
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", answer)
	return nil
}

// find is the message of a stored event, by its id. An event whose key is its id,
// as where the provider has no better one, or is given, is found in its partition;
// any other one among all of its source.
func (s *Server) find(ctx context.Context, receiver, source, id, key string) (*stream.Stored, error) {
	if receiver == "" || source == "" || strings.ContainsAny(receiver+source, "*>/") {
		return nil, noEvent
	}
	filters := event.Filters([]string{receiver + "/" + source}, nil)
	partition := (&event.Event{ID: id, Key: key}).Partition()
	var near []string
	for _, f := range filters {
		near = append(near, strings.Replace(f, ".*.", "."+strconv.Itoa(partition)+".", 1))
	}
	for _, try := range []struct {
		shards  []int
		filters []string
	}{
		{[]int{partition % s.broker.Shards()}, near},
		{all(s.broker.Shards()), filters},
	} {
		for _, shard := range try.shards {
			var found *stream.Stored
			err := s.broker.Scan(ctx, stream.Range{Stream: stream.In(shard), Filters: try.filters, HeadersOnly: true}, func(m *stream.Stored) bool {
				if e, err := event.Decode(m.Header, nil); err == nil && e.ID == id {
					found = m // the newest of several, which the window has forgotten
				}
				return true
			})
			if err != nil {
				return nil, err
			}
			if found == nil {
				continue
			}
			return s.broker.Get(ctx, found.Stream, found.Seq)
		}
	}
	return nil, noEvent
}

func all(n int) (numbers []int) {
	for i := range n {
		numbers = append(numbers, i)
	}
	return numbers
}

// standings are where all chains stand in an event.
func (s *Server) standings(ctx context.Context, m *stream.Stored, shard int) ([]standingView, error) {
	known, err := s.broker.Standings(ctx, m.Stream)
	if err != nil {
		return nil, err
	}
	views := []standingView{}
	for _, at := range known {
		name, ordered := stream.ChainOf(at.Name)
		if name == "" {
			continue
		}
		runs, err := s.runs(ctx, name, shard, m)
		if err != nil {
			return nil, err
		}
		_, known := runs[0]
		if selects := len(event.Intersect([]string{m.Subject}, at.Filters)) > 0; selects && !known {
			runs[0] = &standingView{Chain: name, State: began(at, m.Seq, ordered)}
		}
		for _, v := range runs {
			views = append(views, *v)
		}
	}
	slices.SortFunc(views, func(a, b standingView) int {
		if c := strings.Compare(a.Chain, b.Chain); c != 0 {
			return c
		}
		return a.Run - b.Run
	})
	return views, nil
}

// began is the state of an event of which nothing is recorded.
func began(at stream.Standing, seq uint64, ordered bool) string {
	switch {
	case seq <= at.Floor:
		return "passed"
	case ordered, seq > at.Delivered:
		return "waiting"
	}
	return "at work"
}

// runs are where a chain stands in each run over an event, as far as something is
// recorded of it.
func (s *Server) runs(ctx context.Context, chain string, shard int, m *stream.Stored) (map[int]*standingView, error) {
	runs := make(map[int]*standingView)
	of := func(run int) *standingView {
		if runs[run] == nil {
			runs[run] = &standingView{Chain: chain, Run: run}
		}
		return runs[run]
	}
	if err := s.recorded(ctx, stream.DoneSubject(chain, shard), m, func(r stream.Record) {
		v := of(r.Run)
		v.State, v.Attempts, v.Status, v.Handlers = r.Outcome, r.Attempts, r.Status, nil
		for _, step := range r.Steps {
			v.Handlers = append(v.Handlers, step.Name)
		}
	}); err != nil {
		return nil, err
	}
	places, err := s.places(ctx, chain, shard, m.Seq)
	if err != nil {
		return nil, err
	}
	for _, place := range places {
		p, err := s.progress.Read(ctx, chain, place)
		if errors.Is(err, stream.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		v := of(place.Run)
		v.Attempts = p.Total
		if n := len(p.Failures); n > 0 {
			v.Error = p.Failures[n-1].Error
		}
		if v.State = p.Outcome; p.Outcome == "" {
			v.State, v.Handler, v.Until = "retrying", p.Next, p.Until
		}
	}
	letters, err := s.broker.Subjects(ctx, stream.Dead, stream.DeadPlace(chain, shard, m.Seq))
	if err != nil {
		return nil, err
	}
	for subject := range letters {
		if id, err := stream.ParseDead(subject); err == nil {
			v := of(id.Run)
			v.Letters = append(v.Letters, id.String())
			if v.State == "" {
				v.State = "dead"
			}
		}
	}
	return runs, nil
}

// places are the runs of an event that a chain has progress of; * stands for all
// chains.
func (s *Server) places(ctx context.Context, chain string, shard int, seq uint64) (places []stream.Place, err error) {
	keys, err := s.broker.Bucket(stream.Progress).Keys(ctx, stream.ProgressKeys(chain, shard, seq))
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		_, text, _ := strings.Cut(key, ".")
		if p, err := stream.ParsePlace(text); err == nil {
			places = append(places, p)
		}
	}
	return places, nil
}

// recorded hands each record of the event in the history of a chain, which has a
// subject of its own, to use.
func (s *Server) recorded(ctx context.Context, history string, m *stream.Stored, use func(stream.Record)) error {
	// A redrive, or a replay, may have recorded another one at any time since.
	return s.broker.Scan(ctx, stream.Range{
		Stream: stream.Done, Filters: []string{history}, From: m.Time.Add(-10 * time.Second),
	}, func(group *stream.Stored) bool {
		var records []stream.Record
		if err := json.Unmarshal(group.Data, &records); err != nil {
			return true // what is not ours to read
		}
		for _, r := range records {
			if r.Seq == m.Seq {
				use(r)
			}
		}
		return true
	})
}
