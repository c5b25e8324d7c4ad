package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
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

// window is how many messages of DEAD are looked at first for a page of the newest;
// it doubles up to maxWindow while a page is not full.
const (
	window    = 1024
	maxWindow = 64 << 10
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
	r := stream.Range{Stream: stream.Dead, Filters: lettersOf(state, f.Chain), FromSeq: from, HeadersOnly: true}
	if from == 0 && state == open {
		r.From = f.From // it died then, so it was stored then
	}
	return s.broker.Scan(ctx, r, func(m *stream.Stored) bool {
		l, err := standing.ReadLetter(m)
		if err != nil {
			s.log.Warn("a dead letter cannot be read and is left out", "subject", m.Subject, "error", err)
			return true
		}
		return !f.Letter(l) || each(l)
	})
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
// all), and where the next one ends. The broker reads forwards only, so windows are
// read from the end; of each, no more than a page is kept.
func (s *Server) newestLetters(ctx context.Context, state string, f standing.Filter, before uint64, limit int) (page []*standing.Letter, next uint64, err error) {
	first, last, err := s.broker.Bounds(ctx, stream.Dead)
	if err != nil {
		return nil, 0, err
	}
	if !f.From.IsZero() && state == open {
		if first, err = s.broker.SeqAt(ctx, stream.Dead, f.From); err != nil {
			return nil, 0, err
		}
	}
	high := last + 1
	if before > 0 {
		high = min(high, before)
	}
	for size := uint64(window); high > first; size = min(2*size, maxWindow) {
		low := max(first, high-min(size, high))
		var found []*standing.Letter
		if err := s.scan(ctx, state, f, max(low, 1), func(l *standing.Letter) bool {
			if l.Seq >= high {
				return false
			}
			// One more than fits tells that there is another page.
			if room := limit - len(page) + 1; len(found) == room {
				found = found[1:]
			}
			found = append(found, l)
			return true
		}); err != nil {
			return nil, 0, err
		}
		slices.Reverse(found)
		page = append(page, found...)
		if len(page) > limit {
			return page[:limit], page[limit-1].Seq, nil
		}
		high = low
	}
	return page, 0, nil
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
			view.setBody(e.Body)
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
