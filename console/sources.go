package console

import (
	"context"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// sourceView is the JSON form of a source.
type sourceView struct {
	Receiver string `json:"receiver"`
	ID       string `json:"id"`
	// Stored is how many of its events are kept.
	Stored uint64 `json:"stored"`
	// Off tells who switched it off, when and why; without it the source is on.
	Off *standing.Switch `json:"off,omitempty"`
}

// SetSources tells the console the sources of the configuration, each written
// receiver/id.
func (s *Server) SetSources(names []string) { s.sources.Store(&names) }

// listSources lists those of the configuration, and others that are switched off.
func (s *Server) listSources(w http.ResponseWriter, r *http.Request, _ string) error {
	if err := rest.NewQuery(r).Err(); err != nil {
		return err
	}
	off, err := standing.Off.All(r.Context(), s.broker)
	if err != nil {
		return err
	}
	answer := struct {
		Sources []sourceView `json:"sources"`
	}{[]sourceView{}}
	names := slices.Collect(maps.Keys(off))
	if known := s.sources.Load(); known != nil {
		names = append(names, *known...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		v, err := s.source(r.Context(), name, off)
		if err != nil {
			return err
		}
		answer.Sources = append(answer.Sources, v)
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", answer)
	return nil
}

// source is all that is known of a source.
func (s *Server) source(ctx context.Context, name string, off map[string]standing.Switch) (v sourceView, err error) {
	v.Receiver, v.ID, _ = strings.Cut(name, "/")
	if sw, is := off[name]; is {
		v.Off = &sw
	}
	for shard := range s.broker.Shards() {
		n, err := s.broker.Count(ctx, stream.Range{Stream: stream.In(shard), Filters: event.Filters([]string{name}, nil)})
		if err != nil {
			return v, err
		}
		v.Stored += n
	}
	return v, nil
}

// sourceName is the form of a receiver's name and of a source's id.
var sourceName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// switchSource switches a source off, or on again.
func (s *Server) switchSource(w http.ResponseWriter, r *http.Request, who string) error {
	receiver, id := variable(r, "receiver"), variable(r, "id")
	if !sourceName.MatchString(receiver) || !sourceName.MatchString(id) {
		return rest.NewProblem(http.StatusNotFound, "there can be no such source: want a receiver and an id, such as github/default")
	}
	why, err := whyOf(w, r)
	if err != nil {
		return err
	}
	name := receiver + "/" + id
	if err := s.flip(r.Context(), standing.Off, name, variable(r, "verb") == "switch-off", who, why); err != nil {
		return err
	}
	off, err := standing.Off.All(r.Context(), s.broker)
	if err != nil {
		return err
	}
	v, err := s.source(r.Context(), name, off)
	if err != nil {
		return err
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", v)
	return nil
}
