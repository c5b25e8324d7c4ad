package rest

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// CallOf is one request by somebody who is known. What it returns is written by the
// caller.
type CallOf[W any] func(w http.ResponseWriter, r *http.Request, who W) error

// VerbsOf are the methods of a path.
type VerbsOf[W any] map[string]CallOf[W]

// Call is a [CallOf] somebody of whom the name is known.
type Call = CallOf[string]

// Verbs are the methods of a path for those of whom the name is known.
type Verbs = VerbsOf[string]

// Guard is the handler of a path: it lets only those through whom caller knows,
// picks the method's call and answers what that returns.
func Guard[W any](v VerbsOf[W], caller func(*http.Request) (W, error), log *slog.Logger) http.Handler {
	allow := strings.Join(slices.Sorted(maps.Keys(v)), ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := caller(r)
		f, ok := v[r.Method]
		switch {
		case err == nil && ok:
			err = f(w, r, who)
		case err == nil:
			err = NewProblem(http.StatusMethodNotAllowed, "want "+allow).With("Allow", allow)
		}
		if err == nil {
			return
		}
		p, unexpected := ProblemOf(err)
		if unexpected {
			log.Error("API request failed", "method", r.Method, "path", r.URL.Path, "status", p.Status, "error", err)
		}
		p.Write(w)
	})
}

// NotFound answers a path that there is nothing at.
var NotFound = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	NewProblem(http.StatusNotFound, "there is nothing at this path").Write(w)
})
