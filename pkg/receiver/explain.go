package receiver

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Step is one of the checks that a request goes through.
type Step struct {
	// Name is what is looked at.
	Name string `json:"name"`
	// Saw is what is there: no secret, and no signature.
	Saw string `json:"saw"`
	// OK reports whether it is as it must be.
	OK bool `json:"ok"`
}

// Explain says step by step what the source sees of a request, for a person who
// asks. The verdict is that of [Source.Receive].
func (s *Source) Explain(r *http.Request, body []byte, now time.Time) []Step {
	i := s.inquest(Case{Request: r, Body: body, Now: now})
	steps := []Step{
		{"method", r.Method + ", of " + strings.Join(s.methods, ", "), slices.Contains(s.methods, r.Method)},
		{"content type", i.contentType(), s.AcceptsType(r.Header.Get("Content-Type"))},
	}
	if answer, err := s.shake(s.request(r, body)); answer != nil || err != nil {
		saw := "an unsigned handshake: answered, and nothing is proven"
		if err != nil {
			saw = "none of those that are answered"
		}
		return append(steps, Step{"handshake", saw, err == nil})
	}
	for _, name := range s.single {
		if n := len(r.Header[name]); n > 1 {
			steps = append(steps, Step{name, fmt.Sprintf("there %d times", n), false})
		}
	}
	if s.clock != nil {
		steps = append(steps, i.clockStep())
	}
	for n, sig := range s.signatures {
		if len(s.signatures) > 1 && i.q.value(sig.at) == "" {
			continue // one of several kinds, and not this one
		}
		steps = append(steps, i.signatureSteps(n, sig)...)
	}
	return steps
}

func (i *inquest) contentType() string {
	saw := i.Request.Header.Get("Content-Type")
	if saw == "" {
		saw = "none"
	}
	if len(i.receiver.ContentTypes) > 0 {
		saw += ", of " + strings.Join(i.receiver.ContentTypes, ", ")
	}
	return saw
}

func (i *inquest) clockStep() Step {
	_, sent, err := i.clock.read(i.q)
	if err != nil {
		return Step{"timestamp", i.clock.String() + ": none that can be read", false}
	}
	age := i.Now.Sub(sent).Round(time.Second)
	saw := fmt.Sprintf("%s: %s, %s before now", i.clock.place, sent.UTC().Format(time.RFC3339), age)
	if age < 0 {
		saw = fmt.Sprintf("%s: %s, %s after now", i.clock.place, sent.UTC().Format(time.RFC3339), -age)
	}
	if i.clock.tolerance > 0 {
		saw += "; the tolerance is " + short(i.clock.tolerance)
	}
	return Step{"timestamp", saw, i.clock.check(sent, i.Now) == nil}
}

// signatureSteps are what is there, what it is of, and whether it fits.
func (i *inquest) signatureSteps(n int, sig *signature) []Step {
	form := i.receiver.Signatures[n]
	switch {
	case sig.callback != nil:
		return []Step{{"signature", "none: the provider is asked", true}}
	case sig.token != nil, sig.keys != nil:
		return []Step{{"signature", sig.String() + ", with a key of the sender", i.q.value(sig.at) != ""}}
	}
	candidates, keys := sig.candidates(nil, i.q), i.keys(sig)
	there := fmt.Sprintf("%s: %d well-formed (%s in %s)", sig.place, len(candidates), i.receiver.expand(form.Algorithm), i.receiver.expand(form.Encoding))
	steps := []Step{{"signature", there, len(candidates) > 0}}
	if len(sig.content) > 0 {
		name, missing := sig.content.missing(i.q)
		var size counter
		sig.content.feed(&size, i.q)
		saw := fmt.Sprintf("%s: %d bytes", form.Content, size)
		if missing {
			saw = form.Content + ": no " + name
		}
		steps = append(steps, Step{"signed", saw, !missing})
	}
	holds := slices.ContainsFunc(keys, func(key []byte) bool { return i.holds(sig, key, candidates, i.q) })
	return append(steps, Step{"secret", fmt.Sprintf("%d of %d can be used", len(keys), len(i.secrets)), len(keys) > 0},
		Step{"match", map[bool]string{true: "the signature is that of a secret", false: "no signature is that of a secret"}[holds], holds})
}

// counter counts bytes.
type counter int

// Write counts.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
