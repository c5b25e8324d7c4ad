package receiver

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Summary is a receiver in words, for lists.
type Summary struct {
	// Name is the slug.
	Name string `json:"name"`
	// Title is what people call the provider.
	Title string `json:"title"`
	// Aliases are other names that configuration may use.
	Aliases []string `json:"aliases,omitempty"`
	// Scheme is how a request is proven: hmac-sha256 in X-Hub-Signature-256.
	Scheme string `json:"scheme"`
	// Replay is how far the signed time of sending may be off; empty if none is
	// signed, or any is accepted.
	Replay string `json:"replay,omitempty"`
	// Handshake is how the provider tries the URL out; empty if it does not.
	Handshake string `json:"handshake,omitempty"`
	// ID is the template of the delivery id; empty if each request is an event of
	// its own.
	ID string `json:"id,omitempty"`
	// Event is the template of the event's name; empty if all have that of the
	// receiver.
	Event string `json:"event,omitempty"`
	// Timeout is how long the provider waits for an answer; empty if nobody knows.
	Timeout string `json:"timeout,omitempty"`
	// HTTPS reports whether what was sent in the clear is refused, where a source
	// does not say otherwise: the secret itself is sent.
	HTTPS bool `json:"https"`
	// Docs is the provider's page.
	Docs string `json:"docs"`
}

// Summary says in words what the receiver's file says.
func (r *Receiver) Summary() Summary {
	s := Summary{
		Name: r.Slug, Title: r.Name, Aliases: r.Aliases, Scheme: r.scheme(), Handshake: r.handshake(),
		ID: r.words(r.ID), Event: r.words(r.Event), HTTPS: slices.ContainsFunc(r.active(), r.showsSecret), Docs: r.Docs,
	}
	if r.Timestamp != nil && r.Timestamp.Tolerance > 0 && r.expand(r.Timestamp.name()) != "" {
		s.Replay = short(r.Timestamp.Tolerance)
	}
	if r.Timeout > 0 {
		s.Timeout = short(r.Timeout)
	}
	return s
}

// short writes 5m0s as 5m.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	return s
}

// name is what stands in the place's one field.
func (p Place) name() string { return p.Header + p.Query + p.Form + p.JSON + p.XML }

// expand fills in the parameters' defaults.
func (r *Receiver) expand(text string) string {
	c, err := newCompiler(r, nil)
	if err != nil {
		return text
	}
	return c.expand(text)
}

func (r *Receiver) words(t Templates) string {
	var all []string
	for _, text := range t {
		if text = r.expand(text); text != "" {
			all = append(all, text)
		}
	}
	return strings.Join(all, " or ")
}

// active are the signatures that count where a source asks for no other scheme.
func (r *Receiver) active() []Signature {
	return slices.DeleteFunc(slices.Clone(r.Signatures), func(f Signature) bool {
		return f.Scheme != "" && f.Scheme != r.Params["scheme"].Default
	})
}

func (r *Receiver) showsSecret(f Signature) bool {
	return r.expand(f.Algorithm) == "token" && f.JWT == nil && f.Callback == nil
}

// scheme names each algorithm and place once.
func (r *Receiver) scheme() string {
	var all []string
	for _, f := range r.active() {
		if f.Callback != nil {
			all = append(all, "the provider is asked")
			continue
		}
		algorithm := r.expand(f.Algorithm)
		switch prefix := r.expand(f.Prefix); {
		case algorithm == "token" && prefix == "Basic ":
			algorithm = "basic authentication"
		case algorithm == "token" && prefix == "Bearer ":
			algorithm = "bearer token"
		}
		switch {
		case f.JWT != nil:
			algorithm = "JWT, " + strings.Join(f.JWT.Algorithms, " or ") + ","
		case f.Keys != nil && len(f.Keys.Names) > 0:
			algorithm += " by a certificate"
		}
		where := map[bool]string{f.Query != "": "the query's ", f.Form != "": "the form's ", f.JSON != "": "the JSON's ", f.XML != "": "the XML's "}[true]
		all = append(all, algorithm+" in "+where+r.expand(f.name()))
	}
	return strings.Join(slices.Compact(all), ", ")
}

func (r *Receiver) handshake() string {
	var all []string
	for _, h := range r.Handshakes {
		switch post := h.Method == "" || h.Method == http.MethodPost; {
		case h.Tell != "":
			all = append(all, "the secret itself")
		case post && len(h.Answer.Headers) > 0:
			all = append(all, "header to echo")
		case post:
			all = append(all, "unsigned ping")
		case h.Method == http.MethodGet:
			all = append(all, "GET with a challenge")
		default:
			all = append(all, h.Method)
		}
	}
	for _, u := range r.Unstored {
		if slices.ContainsFunc(r.Handshakes, func(h Handshake) bool { return maps.Equal(h.When, u.When) }) {
			continue // the same ping, signed
		}
		if strings.Contains(u.Answer.Body, "{json:") {
			all = append(all, "signed challenge")
		} else {
			all = append(all, "signed ping")
		}
	}
	return strings.Join(slices.Compact(all), ", ")
}
