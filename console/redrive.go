package console

import (
	"net/http"

	"github.com/belay-hooks/belay/internal/redrive"
	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/internal/standing"
)

func (s *Server) redriveOne(w http.ResponseWriter, r *http.Request, who string) error {
	f, err := bodyOf(w, r)
	if err != nil {
		return err
	}
	f.Only("at", "why")
	o := redrive.Order{Verb: standing.Redriven, By: who, Why: f.Text("why", maxText), Start: atField(f)}
	if err := f.Err(); err != nil {
		return err
	}
	return s.settleOne(w, r, o)
}

// atField reads where a redrive begins.
func atField(f *rest.Fields) (start bool) {
	switch f.Text("at", maxText) {
	case "start":
		return true
	case "", "failed":
	default:
		f.Bad("want failed, for the step that failed, or start", "at")
	}
	return false
}

func (s *Server) discardOne(w http.ResponseWriter, r *http.Request, who string) error {
	f, err := bodyOf(w, r)
	if err != nil {
		return err
	}
	f.Only("why")
	o := redrive.Order{Verb: standing.Discarded, By: who, Why: f.Text("why", maxText)}
	if err := f.Err(); err != nil {
		return err
	}
	return s.settleOne(w, r, o)
}

func (s *Server) settleOne(w http.ResponseWriter, r *http.Request, o redrive.Order) error {
	id, err := letterID(r)
	if err != nil {
		return err
	}
	if err := s.desk.Settle(r.Context(), id, o); err != nil {
		return err
	}
	s.audit("dead letter "+o.Verb, o.By, "deadletter", id.String(), "from_start", o.Start, "why", o.Why)
	l, _, err := s.desk.Letter(r.Context(), id)
	if err != nil {
		return err
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", viewLetter(l))
	return nil
}
