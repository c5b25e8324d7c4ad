package receiver

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

const (
	// defaultMaxBody is the greatest body in bytes of a receiver that says nothing
	// else. Webhooks are small: the Standard Webhooks advice is to stay below 20 kB.
	defaultMaxBody = 1 << 20
	// unknownBudget is for senders of whom nobody knows how long they wait.
	unknownBudget = 5 * time.Second
	// minTimeout and maxTimeout bound what a source may say of its sender. Below
	// a second nothing can be tried twice, and a server that is told to stop waits
	// for what is in hand.
	minTimeout = time.Second
	maxTimeout = 15 * time.Second
	// maxID bounds the length of a source's id.
	maxID = 64
)

// A Secret is a secret that may change while the program runs. Value is called
// for every request, from several goroutines, so it must be cheap.
type Secret interface {
	// Value returns the secret's text. Its error must not hold any of it.
	Value() (string, error)
}

// SourceConfig is what makes a receiver a source.
type SourceConfig struct {
	// Receiver is the slug of the receiver, or an alias.
	Receiver string
	// ID tells the sources of one receiver apart. It is part of the URL. Default: default.
	ID string
	// Secrets are the accepted secrets: several while one replaces another. The
	// first signs.
	Secrets []Secret
	// Tolerance replaces that of the receiver, if it is not zero.
	Tolerance time.Duration
	// Timeout is how long the sender waits for an answer: 1 to 15 s. Zero: what
	// the receiver knows of it.
	Timeout time.Duration
	// Params are what the receiver needs besides secrets.
	Params map[string]string
	// Key is the template of the partition key. Empty: the receiver's.
	Key string
	// MaxBody is the greatest body in bytes. Zero: the receiver's.
	MaxBody int64
	// MaxHeader is the greatest size in bytes of a request's headers. Zero: the
	// server's.
	MaxHeader int64
	// RequireHTTPS refuses what was sent in the clear.
	RequireHTTPS bool
	// Rate is how many webhooks are accepted. Zero: any number.
	Rate Rate
}

// Rate is how many webhooks a server accepts of a source.
type Rate struct {
	// PerSecond is how many it accepts in a second, in the long run.
	PerSecond float64
	// Burst is how many it accepts at once after a pause. Zero: PerSecond,
	// rounded up.
	Burst int
}

// Source is a receiver with its secrets: github/default, stripe/eu. It is safe
// for use by several goroutines.
type Source struct {
	receiver   *Receiver
	id         string
	name       string   // receiver and id: github/default
	uri        string   // as a CloudEvents source: /github/default
	keep       []string // canonical names of the headers to keep
	secrets    []Secret
	signatures []*signature
	clock      *clock // nil: the sender signs no time
	document   choice
	members    []string // the members of the document that templates ask for
	readsJSON  bool     // a template asks for {json:…}
	signsJSON  bool     // the content of a signature does
	delivery   choice
	event      choice
	key        choice
	handshakes []handshake
	methods    []string // of events and handshakes
	unstored   []unstored
	answer     answer
	needsURL   bool
	maxBody    int64
	maxHeader  int64
	https      bool
	rate       Rate
	timeout    time.Duration // zero: not known
	single     []string      // headers that may stand in a request once at most
}

// NewSource checks a source's configuration and prepares all that does not
// depend on a request. What is wrong is told by a [*FieldError]. A secret that
// cannot be read yet is not wrong: requests are refused until it can.
func NewSource(c SourceConfig) (*Source, error) {
	r, ok := Lookup(c.Receiver)
	if !ok {
		return nil, &FieldError{Field: "receiver", Value: c.Receiver, Want: fmt.Sprintf("one of %v", Names())}
	}
	if c.ID == "" {
		c.ID = "default"
	}
	if !isID(c.ID) {
		return nil, &FieldError{Field: "id", Value: c.ID, Want: fmt.Sprintf("at most %d letters, digits, dots, dashes and underscores", maxID)}
	}
	if c.MaxBody < 0 {
		return nil, &FieldError{Field: "max_body", Value: fmt.Sprint(c.MaxBody), Want: "a number of bytes above zero"}
	}
	if c.MaxHeader < 0 {
		return nil, &FieldError{Field: "max_header", Value: fmt.Sprint(c.MaxHeader), Want: "a number of bytes above zero"}
	}
	if c.MaxBody == 0 {
		c.MaxBody = r.MaxBody
	}
	switch {
	case c.Timeout == 0:
		c.Timeout = min(r.Timeout, maxTimeout)
	case c.Timeout < minTimeout || c.Timeout > maxTimeout:
		return nil, &FieldError{Field: "timeout", Value: c.Timeout.String(), Want: fmt.Sprintf("%s to %s", minTimeout, maxTimeout)}
	}
	rate, err := c.Rate.checked()
	if err != nil {
		return nil, err
	}
	s := &Source{
		receiver: r, id: c.ID, name: r.Slug + "/" + c.ID, uri: "/" + r.Slug + "/" + c.ID, secrets: c.Secrets,
		maxBody: c.MaxBody, maxHeader: c.MaxHeader, https: c.RequireHTTPS, rate: rate, timeout: c.Timeout,
	}
	for _, name := range r.Keep {
		s.keep = append(s.keep, http.CanonicalHeaderKey(name))
	}
	if err := s.compile(c); err != nil {
		return nil, err
	}
	return s, s.checkSecrets()
}

// checked fills in the burst.
func (r Rate) checked() (Rate, error) {
	switch {
	case r == Rate{}:
	case !(r.PerSecond > 0): // NaN too
		return r, &FieldError{Field: "rate_limit.per_second", Value: fmt.Sprint(r.PerSecond), Want: "a number above zero"}
	case r.Burst < 0:
		return r, &FieldError{Field: "rate_limit.burst", Value: fmt.Sprint(r.Burst), Want: "at least 1"}
	case r.Burst == 0:
		r.Burst = int(math.Ceil(min(r.PerSecond, math.MaxInt32)))
	}
	return r, nil
}

// isID reports whether a source can have this id: it is a segment of a URL.
func isID(id string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
	return len(id) <= maxID && strings.Trim(id, letters) == "" && id != "." && id != ".."
}

// compile fills in what comes from the receiver's form.
func (s *Source) compile(c SourceConfig) error {
	form := &s.receiver.Form
	compile, err := newCompiler(s.receiver, c.Params)
	if err != nil {
		return err
	}
	for i, f := range form.Signatures {
		sig, err := compile.signature(i, f)
		if err != nil {
			return err
		}
		s.signatures = append(s.signatures, sig)
	}
	if s.clock, err = compile.clock(form.Timestamp, c.Tolerance); err != nil {
		return err
	}
	if err := s.checkTimeSigned(compile); err != nil {
		return err
	}
	for _, field := range []struct {
		name  string
		texts Templates
		into  *choice
	}{
		{"document", form.Document, &s.document},
		{"id", form.ID, &s.delivery},
		{"event", form.Event, &s.event},
		{"key", form.Key, &s.key},
	} {
		if *field.into, err = compile.choice(field.name, field.texts); err != nil {
			return err
		}
	}
	if c.Key != "" {
		if s.key, err = compile.choice("key", Templates{c.Key}); err != nil {
			return err
		}
	}
	if s.answer, err = compile.answer("answer", form.Answer); err != nil {
		return err
	}
	if s.unstored, err = compile.unstored(form.Unstored); err != nil {
		return err
	}
	if s.document.uses(documentText) {
		return &FieldError{Field: "document", Want: "templates without {document}, which is what they say"}
	}
	if s.handshakes, err = compile.handshakes(form.Handshakes); err != nil {
		return err
	}
	s.methods = form.Methods
	for _, h := range s.handshakes {
		if !slices.Contains(s.methods, h.method) {
			s.methods = append(slices.Clip(s.methods), h.method)
		}
	}
	s.signsJSON = s.clock != nil && s.clock.at.kind == jsonValue || slices.ContainsFunc(s.signatures, func(sig *signature) bool {
		return sig.at.kind == jsonValue || choice{sig.content}.uses(jsonValue)
	})
	s.needsURL = s.anyTemplate(func(t choice) bool { return t.uses(address) })
	s.readsJSON = s.anyTemplate(func(t choice) bool { return t.uses(jsonValue) })
	// Were one of these headers there twice, the sender and we might look at
	// different ones.
	s.single = s.collect(header, func(p part) string { return p.arg })
	s.members = s.collect(jsonValue, func(p part) string { return p.member })
	return nil
}

// checkTimeSigned refuses a timestamp that a forger could change.
func (s *Source) checkTimeSigned(c *compiler) error {
	for i, sig := range s.signatures {
		field, text := fmt.Sprintf("signatures[%d].content", i), s.receiver.Signatures[i].Content
		signed := slices.ContainsFunc(sig.content, func(p part) bool {
			return p.kind == timestamp || s.clock != nil && (p == s.clock.at || s.clock.inBody() && p.kind == body)
		})
		uses := choice{sig.content}.uses(timestamp)
		switch {
		case s.clock == nil && uses:
			return c.blame(field, text, "a template without {timestamp}, or the header of a timestamp")
		case s.clock != nil && !signed:
			return c.blame(field, text, "a template with {timestamp}: a time that is not signed proves nothing")
		}
	}
	return nil
}

// checkSecrets refuses secrets that can be read and are of no use.
func (s *Source) checkSecrets() error {
	if len(s.secrets) == 0 {
		return &FieldError{Field: "secrets", Want: "at least one secret: without one anybody could send"}
	}
	for i, secret := range s.secrets {
		text, err := secret.Value()
		if err != nil {
			continue
		}
		var wrong error
		for _, sig := range s.signatures {
			err := sig.usable(text)
			if err == nil {
				wrong = nil
				break // others may take another kind of key
			}
			if wrong == nil || errors.Is(err, errEmptySecret) {
				wrong = err
			}
		}
		if wrong != nil {
			want := "a secret as the provider shows it, see " + s.receiver.Docs
			if errors.Is(wrong, errEmptySecret) {
				want = "a secret that is not empty"
			}
			return &FieldError{Field: fmt.Sprintf("secrets[%d]", i), Want: want}
		}
	}
	return nil
}

// anyTemplate asks about every template that is filled from requests.
func (s *Source) anyTemplate(is func(choice) bool) bool {
	all := []choice{s.document, s.delivery, s.event, s.key}
	all = append(all, unstored{answer: s.answer}.templates()...)
	for _, sig := range s.signatures {
		all = append(all, choice{sig.content, {sig.at}})
	}
	if s.clock != nil {
		all = append(all, choice{{s.clock.at}})
	}
	for _, u := range s.unstored {
		all = append(all, u.templates()...)
	}
	for _, h := range s.handshakes {
		all = append(all, h.templates()...)
	}
	return slices.ContainsFunc(all, is)
}

// collect lists, each once, what name says of the placeholders of a kind in all
// templates.
func (s *Source) collect(k kind, name func(part) string) []string {
	var names []string
	s.anyTemplate(func(c choice) bool {
		for _, t := range c {
			for _, p := range t {
				if p.kind == k {
					names = append(names, name(p))
				}
			}
		}
		return false
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// Name is receiver and id: github/default.
func (s *Source) Name() string { return s.name }

// Receiver is the receiver that the source belongs to.
func (s *Source) Receiver() *Receiver { return s.receiver }

// MaxBody is the greatest body in bytes that the source accepts.
func (s *Source) MaxBody() int64 { return s.maxBody }

// MaxHeader is the greatest size in bytes of the headers of a request that the
// source accepts: names and values. Zero: the server's.
func (s *Source) MaxHeader() int64 { return s.maxHeader }

// RequiresHTTPS reports whether what was sent in the clear is refused. Only the
// server that the request came to, and the proxies before it, know that it was:
// the check is the caller's.
func (s *Source) RequiresHTTPS() bool { return s.https }

// Rate is how many webhooks are accepted, which is the caller's to check. Zero:
// any number.
func (s *Source) Rate() Rate { return s.rate }

// NeedsURL reports whether the source looks at the URL that the sender called.
// Behind a proxy only the caller knows it, who then passes [Source.Receive] a
// request with that URL's scheme and host in its URL and Host.
func (s *Source) NeedsURL() bool { return s.needsURL }

// Methods are the HTTP methods that the provider uses, for events and handshakes.
func (s *Source) Methods() []string { return s.methods }

// Budget is how long an answer may take: the time-out of the sender, where it is
// known, less a fifth or a second, whichever is less, for the way; else 5 s. A
// second is a handshake and an answer around the globe, and the longest election
// of a broker's leader, 9 s, fits into what GitHub's 10 s leave.
func (s *Source) Budget() time.Duration {
	if s.timeout == 0 {
		return unknownBudget
	}
	return s.timeout - min(s.timeout/5, time.Second)
}

// AcceptsType reports whether the provider sends bodies of this content type.
// Handshakes may have no body, and so none.
func (s *Source) AcceptsType(contentType string) bool {
	if len(s.receiver.ContentTypes) == 0 || contentType == "" && len(s.handshakes) > 0 {
		return true
	}
	media := mediaType(contentType)
	return slices.ContainsFunc(s.receiver.ContentTypes, func(known string) bool {
		ok, err := path.Match(known, media)
		return err == nil && ok
	})
}
