package console

import (
	"net"
	"net/http"
	"net/url"

	"github.com/gorilla/mux"

	"github.com/belay-hooks/belay/internal/rest"
)

// maxBody bounds a request: a filter and a reason.
const maxBody = 64 << 10

// maxText bounds a text that an operator gives, in bytes.
const maxText = 1024

func (s *Server) routes() http.Handler {
	r := mux.NewRouter().UseEncodedPath()
	for path, verbs := range map[string]rest.Verbs{
		"/v1/deadletters":                                      {"GET": s.listLetters},
		"/v1/deadletters/{id}":                                 {"GET": s.showLetter},
		"/v1/deadletters/{id}/redrive":                         {"POST": s.redriveOne},
		"/v1/deadletters/{id}/discard":                         {"POST": s.discardOne},
		"/v1/replays":                                          {"GET": s.listReplays, "POST": s.createReplay},
		"/v1/replays/{id}":                                     {"GET": s.showJob},
		"/v1/replays/{id}/{verb:pause|resume|cancel}":          {"POST": s.changeJob},
		"/v1/chains":                                           {"GET": s.listChains},
		"/v1/chains/{name}":                                    {"GET": s.showChain, "DELETE": s.deleteChain},
		"/v1/chains/{name}/{verb:pause|resume}":                {"POST": s.switchChain},
		"/v1/events/{receiver}/{source}/{id}":                  {"GET": s.showEvent},
		"/v1/events/{receiver}/{source}/{id}/erase":            {"POST": s.eraseEvent},
		"/v1/sources":                                          {"GET": s.listSources},
		"/v1/sources/{receiver}/{id}/{verb:switch-off|resume}": {"POST": s.switchSource},
		"/v1/jobs":                                             {"GET": s.listJobs, "POST": s.createJob},
		"/v1/jobs/{id}":                                        {"GET": s.showJob},
		"/v1/jobs/{id}/{verb:pause|resume|cancel}":             {"POST": s.changeJob},
	} {
		r.Handle(path, rest.Guard(verbs, s.caller, s.log))
	}
	r.NotFoundHandler = rest.NotFound
	// A page in the browser of an operator's machine must not do what he may.
	return http.NewCrossOriginProtection().Handler(r)
}

// caller is who makes the request: the owner of the key, or without any keys who is
// on this machine.
func (s *Server) caller(r *http.Request) (string, error) {
	if keys := *s.keys.Load(); len(keys) > 0 {
		return keys.Caller(r, "BELAY_CONSOLE_KEYS to a comma list of key or name=key")
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	// A name that leads here from the browser of a page elsewhere is not ours.
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", rest.NewProblem(http.StatusForbidden, "without BELAY_CONSOLE_KEYS the console is called as localhost only")
	}
	return local, nil
}

// variable is a part of the path.
func variable(r *http.Request, name string) string {
	raw := mux.Vars(r)[name]
	if text, err := url.PathUnescape(raw); err == nil {
		return text
	}
	return raw
}

// bodyOf reads a request's JSON object; without a body it is an empty one.
func bodyOf(w http.ResponseWriter, r *http.Request) (*rest.Fields, error) {
	body, err := rest.ReadBody(w, r, maxBody)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return &rest.Fields{}, nil
	}
	if rest.MediaType(r) != "application/json" {
		return nil, rest.NewProblem(http.StatusUnsupportedMediaType, "want Content-Type application/json")
	}
	return rest.ReadFields(body)
}
