package receiver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/semaphore"
)

// NewSource checks a source's configuration and prepares all that does not
// depend on a request. What is wrong is told by a [*FieldError]. A secret that
// cannot be read yet is not wrong: requests are refused until it can.
func NewSource(c SourceConfig) (*Source, error) { return Builtin().NewSource(c) }

// NewSource is [NewSource] of a receiver of the catalogue.
func (all *Catalogue) NewSource(c SourceConfig) (*Source, error) {
	r, ok := all.Lookup(c.Receiver)
	if !ok {
		want := fmt.Sprintf("one of %v", all.Names())
		if near := all.Near(c.Receiver); len(near) > 0 {
			want = fmt.Sprintf("one of %v, or another one that belay receivers lists", near)
		}
		return nil, &FieldError{Field: "receiver", Value: c.Receiver, Want: want}
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
	asks, err := c.Wait.asks()
	if err != nil {
		return nil, err
	}
	s := &Source{
		receiver: r, id: c.ID, name: r.Slug + "/" + c.ID, uri: "/" + r.Slug + "/" + c.ID, secrets: c.Secrets,
		fetcher: c.Fetcher, maxBody: c.MaxBody, maxHeader: c.MaxHeader, rate: rate, asks: asks, timeout: c.Timeout,
	}
	for _, name := range r.Keep {
		s.keep = append(s.keep, http.CanonicalHeaderKey(name))
	}
	if err := s.compile(c); err != nil {
		return nil, err
	}
	s.https = slices.ContainsFunc(s.signatures, (*signature).isSecret)
	if c.RequireHTTPS != nil {
		s.https = *c.RequireHTTPS
	}
	return s, s.checkSecrets()
}

// compile fills in what comes from the receiver's form.
func (s *Source) compile(c SourceConfig) error {
	s.questions = semaphore.NewWeighted(maxQuestions)
	compile, err := newCompiler(s.receiver, c.Params)
	if err != nil {
		return err
	}
	if err := s.compileProof(compile, c); err != nil {
		return err
	}
	if err := s.compileTexts(compile, c.Key); err != nil {
		return err
	}
	if err := s.compileAnswers(compile); err != nil {
		return err
	}
	s.noteUses()
	if s.fetcher == nil && s.fetches() {
		s.fetcher = NewFetcher(FetcherConfig{})
	}
	return nil
}

// compileProof fills in how a request is proven, and how old it may be.
func (s *Source) compileProof(compile *compiler, c SourceConfig) (err error) {
	for i, f := range s.receiver.Signatures {
		if !compile.inScheme(f.Scheme) {
			continue
		}
		sig, err := compile.signature(i, f)
		if err != nil {
			return err
		}
		s.signatures = append(s.signatures, sig)
	}
	if len(s.signatures) == 0 {
		return &FieldError{Field: "params.scheme", Value: c.Params["scheme"], Want: "a scheme that one of the signatures has"}
	}
	if err := s.compileItems(compile); err != nil {
		return err
	}
	if s.clock, err = compile.clock(s.receiver.Timestamp, c.Tolerance); err != nil {
		return err
	}
	return s.checkTimeSigned(compile)
}

// compileTexts fills in where the names of an event come from. The key is that of the
// source, if it has one.
func (s *Source) compileTexts(compile *compiler, key string) (err error) {
	form := &s.receiver.Form
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
	if s.document.uses(documentText) {
		return &FieldError{Field: "document", Want: "templates without {document}, which is what they say"}
	}
	if key != "" {
		s.key, err = compile.choice("key", Templates{key})
	}
	return err
}

// compileAnswers fills in what is answered, and to which methods.
func (s *Source) compileAnswers(compile *compiler) (err error) {
	form := &s.receiver.Form
	if s.answer, err = compile.answer("answer", form.Answer); err != nil {
		return err
	}
	if s.refused, err = compile.refused(form.Refused); err != nil {
		return err
	}
	if s.unstored, err = compile.unstored(form.Unstored); err != nil {
		return err
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
	return nil
}

// noteUses notes what of a request the templates look at, so that nothing else is
// read of it.
func (s *Source) noteUses() {
	s.signsJSON = s.clock != nil && s.clock.at.kind == jsonValue || slices.ContainsFunc(s.signatures, func(sig *signature) bool {
		return s.items != nil || slices.ContainsFunc(sig.templates(), choice.usesJSON)
	})
	s.signsValues = s.items != nil || slices.ContainsFunc(s.signatures, func(sig *signature) bool { return (choice{sig.content}).usesJSON() })
	s.needsURL = s.anyTemplate(func(t choice) bool {
		return t.uses(address) || t.uses(otherPort) || t.uses(requestPath) || t.uses(plivoURL) || t.uses(canonicalRequest)
	})
	s.readsJSON = s.anyTemplate(choice.usesJSON)
	// Were one of these headers there twice, the sender and we might look at
	// different ones.
	s.single = s.collect(header, func(p part) string { return p.arg })
	s.single = append(s.single, s.collect(signedHeaders, func(p part) string { return p.arg })...)
	s.members = append(s.collect(jsonValue, memberOf), s.collect(jsonLine, memberOf)...)
	s.elements = newXMLTree(s.collect(xmlValue, func(p part) string { return p.arg }))
}

func memberOf(p part) string { return p.member }

// compileItems fills in where the items are that are signed one by one.
func (s *Source) compileItems(c *compiler) error {
	form := &s.receiver.Form
	s.encoded = form.DocumentEncoding == "base64"
	if !s.encoded && form.DocumentEncoding != "" {
		return &FieldError{Field: "document_encoding", Value: form.DocumentEncoding, Want: "base64"}
	}
	if form.Items == "" {
		return nil
	}
	at, err := parsePlaceholder("json:" + form.Items)
	if err != nil {
		return &FieldError{Field: "items", Value: form.Items, Want: err.Error()}
	}
	if form.Timestamp != nil {
		return &FieldError{Field: "items", Value: form.Items, Want: "no timestamp beside it"}
	}
	s.items = &at
	return nil
}

// fetches reports whether anything is asked of a provider.
func (s *Source) fetches() bool {
	return slices.ContainsFunc(s.signatures, func(sig *signature) bool { return sig.keys != nil || sig.callback != nil }) ||
		slices.ContainsFunc(s.unstored, func(u unstored) bool { return u.call != nil })
}

// checkTimeSigned refuses a timestamp that a forger could change.
func (s *Source) checkTimeSigned(c *compiler) error {
	for _, sig := range s.signatures {
		field, text := sig.field+"content", sig.text
		signed := slices.ContainsFunc(sig.content, func(p part) bool {
			return p.kind == signedHeaders || p.kind == timestamp || s.clock != nil && p.kind == jsonLine && s.clock.at.kind == jsonValue && p.arg == s.clock.at.arg ||
				s.clock != nil && (p == s.clock.at || s.clock.inBody() && p.kind == body)
		})
		uses := choice{sig.content}.uses(timestamp)
		switch {
		case sig.token != nil || sig.callback != nil: // the one has its own time, the other is asked now
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
	if len(s.secrets) == 0 && slices.ContainsFunc(s.signatures, (*signature).needsSecret) {
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
			want := strings.TrimSuffix("a secret as the provider shows it, see "+s.receiver.Docs, ", see ")
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
	all = append(all, s.answer.templates()...)
	all = append(all, s.refused.templates()...)
	if s.items != nil {
		all = append(all, choice{{*s.items}})
	}
	for _, sig := range s.signatures {
		all = append(all, sig.templates()...)
	}
	if s.clock != nil {
		all = append(all, choice{{s.clock.at}})
	}
	for _, u := range s.unstored {
		all = append(all, u.templates()...)
	}
	for _, h := range s.handshakes {
		all = append(append(all, h.templates()...), choice{h.tell})
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
