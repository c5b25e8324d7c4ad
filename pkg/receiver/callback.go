package receiver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// A callback is a compiled [Callback].
type callback struct {
	call    *call
	expect  string
	replace bool
}

// tryCallback asks the provider whether the request is its own, with the next
// secret where it refuses one.
func (s *Source) tryCallback(ctx context.Context, sig *signature, q *request) (best weight, refusal error) {
	if len(s.secrets) == 0 {
		return s.question(ctx, sig, q)
	}
	for _, secret := range s.secrets {
		var w weight
		text, err := secret.Value()
		if q.secret = text; err != nil {
			w, err = unavailable, refuse(SecretUnavailable, "%v", err)
		} else {
			w, err = s.question(ctx, sig, q)
		}
		if r, ok := errors.AsType[*Refusal](err); !ok || r.Reason != SecretUnavailable {
			return w, err
		}
		best, refusal = w, err
	}
	return best, refusal
}

// question asks once.
func (s *Source) question(ctx context.Context, sig *signature, q *request) (weight, error) {
	out, ok := sig.callback.call.fill(q)
	if !ok {
		return lacking, refuse(SignedMissing, "the request has nothing that its provider could be asked about")
	}
	got, err := s.ask(ctx, out)
	if err != nil {
		return unavailable, refuse(ProviderUnavailable, "%v", err)
	}
	switch got.status {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusNotFound, http.StatusGone, http.StatusUnprocessableEntity:
		return wrong, refuse(SignatureWrong, "the provider does not know the request: status %d", got.status)
	case http.StatusUnauthorized, http.StatusForbidden:
		return unavailable, refuse(SecretUnavailable, "the provider refuses the source's secret: status %d", got.status)
	default:
		return unavailable, refuse(ProviderUnavailable, "the provider answered with the status %d", got.status)
	}
	if want := sig.callback.expect; want != "" && strings.TrimSpace(string(got.body)) != want {
		return wrong, refuse(SignatureWrong, "the provider says that the request is not its own")
	}
	if sig.callback.replace {
		q.replaceBody(got.body)
	}
	return proven, nil
}

// replaceBody puts what the provider sent on our asking in the place of what
// came.
func (q *request) replaceBody(body []byte) {
	q.body, q.document = body, nil
	q.form, q.formParsed = nil, false
	q.elements, q.xmlParsed = nil, false
}

// confirm makes the call that a request asks for.
func (s *Source) confirm(c *call, q *request) error {
	out, ok := c.fill(q)
	if !ok {
		return refuse(Unreadable, "the request asks for nothing that the receiver's file allows")
	}
	ctx, cancel := s.outside(q)
	defer cancel()
	got, err := s.ask(ctx, out)
	if err != nil {
		return refuse(ProviderUnavailable, "%v", err)
	}
	if got.status != http.StatusOK {
		return refuse(ProviderUnavailable, "the provider answered with the status %d", got.status)
	}
	return nil
}

// ask makes a request of the provider, if not too many are under way.
func (s *Source) ask(ctx context.Context, o outgoing) (*reply, error) {
	if !s.questions.TryAcquire(1) {
		return nil, fmt.Errorf("%d questions to the provider are under way, which is the most", maxQuestions)
	}
	defer s.questions.Release(1)
	return s.fetcher.do(ctx, o)
}

// outside bounds what is asked of others while a sender waits: half of its
// budget, so that there is time to store the event.
func (s *Source) outside(q *request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(q.Context(), s.Budget()/2)
}

func (c *compiler) callback(field string, f *Callback) (*callback, error) {
	made, err := c.call(field, f.Call)
	if err != nil {
		return nil, err
	}
	return &callback{call: made, expect: c.expand(f.Expect), replace: f.Replace}, nil
}
