package outbox

import (
	"net/http"

	"github.com/gorilla/mux"

	"github.com/belay-hooks/belay/internal/rest"
)

// api is the REST API of an outbox.
type api struct{ *Server }

func (a *api) routes() http.Handler {
	r := mux.NewRouter()
	r.HandleFunc("/v1/openapi.yaml", describe).Methods(http.MethodGet, http.MethodHead)
	for path, v := range a.paths() {
		r.Handle(path, a.guard(v))
	}
	r.NotFoundHandler = rest.NotFound
	return r
}

// paths are all paths of the API. What each takes and answers stands in
// openapi.yaml.
func (a *api) paths() map[string]verbs {
	const one = "/v1/subscriptions/{id}"
	return map[string]verbs{
		"/v1/subscriptions": {http.MethodPost: a.createSubscription, http.MethodGet: a.listSubscriptions, http.MethodDelete: a.deleteSubscriptions},
		one: {
			http.MethodGet: a.getSubscription, http.MethodPut: a.replaceSubscription,
			http.MethodPatch: a.patchSubscription, http.MethodDelete: a.deleteSubscription,
		},
		one + "/health":              {http.MethodGet: a.subscriptionHealth},
		one + "/pause":               {http.MethodPost: a.pauseSubscription},
		one + "/resume":              {http.MethodPost: a.resumeSubscription},
		one + "/rotate":              {http.MethodPost: a.rotateSubscription},
		one + "/test":                {http.MethodPost: a.testSubscription},
		one + "/verify":              {http.MethodPost: a.verifySubscription},
		"/v1/event-types":            {http.MethodGet: a.listTypes},
		"/v1/event-types/{name}":     {http.MethodPut: a.declareType, http.MethodDelete: a.deleteType},
		"/v1/keys":                   {http.MethodPost: a.createKey, http.MethodGet: a.listKeys},
		"/v1/keys/{id}":              {http.MethodDelete: a.revokeKey},
		"/v1/deliveries":             {http.MethodGet: a.listDeliveries},
		"/v1/deliveries/{id}":        {http.MethodGet: a.showDelivery},
		"/v1/deliveries/{id}/retry":  {http.MethodPost: a.retryDelivery},
		"/v1/deliveries/{id}/cancel": {http.MethodPost: a.cancelDelivery},
		"/v1/jobs":                   {http.MethodPost: a.createJob, http.MethodGet: a.listJobs},
		"/v1/jobs/{id}":              {http.MethodGet: a.showJob},
		"/v1/jobs/{id}/pause":        {http.MethodPost: a.changeJob("pause")},
		"/v1/jobs/{id}/resume":       {http.MethodPost: a.changeJob("resume")},
		"/v1/jobs/{id}/cancel":       {http.MethodPost: a.changeJob("cancel")},
		notificationsPath:            {http.MethodPost: a.notify},
	}
}

// notificationsPath is where notifications are taken.
const notificationsPath = "/v1/notifications"

// verbs are the methods of a path.
type verbs = rest.VerbsOf[caller]

func (a *api) guard(v verbs) http.Handler { return rest.Guard(v, a.caller, a.log) }
