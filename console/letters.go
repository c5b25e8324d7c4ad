package console

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/belay-hooks/belay/internal/redrive"
	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/pkg/stream"
)

const (
	open   = "open"
	closed = "closed"

	oldest = "oldest"
	newest = "newest"
)

// lettersOf selects the dead letters of a chain, or of all, open or closed.
func lettersOf(state, chain string) []string {
	if chain == "" {
		chain = "*"
	}
	if state == open {
		return []string{stream.DeadEvents(chain)}
	}
	return []string{stream.DeadCloseds(chain)}
}

// scan hands the dead letters that the filter selects to each, the oldest first,
// from a number on, without their bodies.
func (s *Server) scan(ctx context.Context, state string, f standing.Filter, from uint64, each func(*standing.Letter) (more bool)) error {
	r := s.letterRange(state, f)
	r.FromSeq = from
	return s.broker.Scan(ctx, r, func(m *stream.Stored) bool {
		l := s.letter(m)
		return l == nil || !f.Letter(l) || each(l)
	})
}

// letterRange selects the headers of the dead letters that a filter may select.
func (s *Server) letterRange(state string, f standing.Filter) stream.Range {
	r := stream.Range{Stream: stream.Dead, Filters: lettersOf(state, f.Chain), HeadersOnly: true}
	if state == open {
		r.From = f.From // it died then, so it was stored then
	}
	return r
}

// letter reads a dead letter; nil for one that cannot be read.
func (s *Server) letter(m *stream.Stored) *standing.Letter {
	l, err := standing.ReadLetter(m)
	if err != nil {
		s.log.Warn("a dead letter cannot be read and is left out", "subject", m.Subject, "error", err)
		return nil
	}
	return l
}

// oldestLetters is a page of them, and where the next one begins; 0 at the end.
func (s *Server) oldestLetters(ctx context.Context, state string, f standing.Filter, from uint64, limit int) (page []*standing.Letter, next uint64, err error) {
	err = s.scan(ctx, state, f, from, func(l *standing.Letter) bool {
		if len(page) == limit {
			next = l.Seq
			return false
		}
		page = append(page, l)
		return true
	})
	return page, next, err
}

// newestLetters is a page of them, the newest first, that stand before a number (0:
// all), and where the next one ends.
func (s *Server) newestLetters(ctx context.Context, state string, f standing.Filter, before uint64, limit int) (page []*standing.Letter, next uint64, err error) {
	return stream.Newest(ctx, s.broker, s.letterRange(state, f), before, limit, func(m *stream.Stored) (*standing.Letter, bool) {
		l := s.letter(m)
		return l, l != nil && f.Letter(l)
	})
}

// letterPage is one page of a list.
type letterPage struct {
	Letters []letterView `json:"deadletters"`
	// Next is the cursor of the next page; empty on the last one.
	Next string `json:"next,omitempty"`
}

func (s *Server) listLetters(w http.ResponseWriter, r *http.Request, _ string) error {
	q := rest.NewQuery(r)
	f := queryFilter(q)
	state, order := q.OneOf("state", open, closed), q.OneOf("order", newest, oldest)
	limit, cursor := q.Page()
	at, err := strconv.ParseUint(cursor, 10, 64)
	if cursor != "" && (err != nil || at == 0) {
		q.BadCursor()
	}
	if err := q.Err(); err != nil {
		return err
	}
	list := s.newestLetters
	if order == oldest {
		list = s.oldestLetters
	}
	page, next, err := list(r.Context(), state, f, at, limit)
	if err != nil {
		return err
	}
	answer := letterPage{Letters: make([]letterView, 0, len(page))}
	for _, l := range page {
		answer.Letters = append(answer.Letters, viewLetter(l))
	}
	if next > 0 {
		answer.Next = rest.Cursor(strconv.FormatUint(next, 10))
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", answer)
	return nil
}

func (s *Server) showLetter(w http.ResponseWriter, r *http.Request, _ string) error {
	id, err := letterID(r)
	if err != nil {
		return err
	}
	l, m, err := s.desk.Letter(r.Context(), id)
	if err != nil {
		return err
	}
	view := viewLetter(l)
	view.Failures = l.Failures
	if l.Event != nil {
		view.Header = l.Event.Header
	}
	if l.Closed == nil && l.Event != nil {
		e, err := s.broker.ReadEvent(r.Context(), m)
		switch {
		case err == nil:
			view.SetBody(e.Body)
		case !errors.Is(err, stream.ErrNotFound):
			return err
		}
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", view)
	return nil
}

// letterID reads the id in the path.
func letterID(r *http.Request) (stream.LetterID, error) {
	id, err := stream.ParseLetterID(variable(r, "id"))
	if err != nil {
		return id, redrive.ErrNoLetter
	}
	return id, nil
}
