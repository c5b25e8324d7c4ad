package outbox

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/belay-hooks/belay/internal/rest"
)

// shown is how a subscription is shown to somebody: without the values of headers,
// and without what is the operator's.
type shown struct {
	Subscription
	// Secret is shown when it is made, and not again.
	Secret string `json:"secret,omitempty"`
	// Secrets says of each that is in use since when, and how long still.
	Secrets []shownSecret `json:"secrets"`
}

type shownSecret struct {
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	// PublicKey is what signatures are verified with that are asymmetric.
	PublicKey string `json:"public_key,omitempty"`
}

func (c caller) shown(s *Subscription) *shown {
	v := &shown{Subscription: *s, Secrets: []shownSecret{}}
	if len(s.Headers) > 0 {
		v.Headers = make(map[string]string, len(s.Headers))
		for name := range s.Headers {
			v.Headers[name] = hidden
		}
	}
	if c.access != accessOperator {
		v.PrivateFilters = nil
	}
	for _, secret := range s.secrets {
		one := shownSecret{Created: secret.Created, Expires: secret.Expires}
		if public := schemes[s.Signing].public; public != nil {
			one.PublicKey = public(secret.Text)
		}
		v.Secrets = append(v.Secrets, one)
	}
	return v
}

// shownOnce is the same, with the secret that was just made.
func (c caller) shownOnce(s *Subscription) *shown {
	v := c.shown(s)
	v.Secret = s.secrets[0].Text
	return v
}

// write answers with a subscription, and with the tag of this state of it.
func (v *shown) write(w http.ResponseWriter, status int) error {
	w.Header().Set("ETag", v.tag())
	rest.WriteJSON(w, status, "application/json", v)
	return nil
}

// tag is the entity tag of a subscription: it is another one after every change.
func (s *Subscription) tag() string { return `"` + strconv.FormatUint(s.revision, 10) + `"` }

// ifMatch refuses a request that was made for another state of the subscription.
func (s *Subscription) ifMatch(r *http.Request) error {
	if want := r.Header.Get("If-Match"); want != "" && !listsTag(want, s.tag()) {
		return rest.NewProblem(http.StatusPreconditionFailed, "the subscription was changed since it was read; read it again")
	}
	return nil
}

// listsTag reports whether a list of tags, as in If-Match, names this one.
func listsTag(list, tag string) bool {
	tags := strings.Split(list, ",")
	return slices.ContainsFunc(tags, func(t string) bool {
		t = strings.TrimSpace(t)
		return t == "*" || t == tag
	})
}
