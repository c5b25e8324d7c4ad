package receiver

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

// Middleware lets only genuine requests of the source through to next, with
// their body to be read again: for a [Callback] that replaces it, the one that the
// provider gave. It is the verification alone, for a server of
// one's own: nothing is stored, and signed pings come through. Unsigned handshakes
// are answered ([Form].Handshakes). Others are answered as
// Belay answers them, without a word on what was wrong: 401, 413 above the
// source's body limit, 400 if the body cannot be read, 503 if the secret cannot.
func Middleware(s *Source, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.MaxBody()))
		if err != nil {
			status := http.StatusBadRequest
			if _, large := errors.AsType[*http.MaxBytesError](err); large {
				status = http.StatusRequestEntityTooLarge
			}
			http.Error(w, http.StatusText(status), status)
			return
		}
		q := s.request(r, body)
		shaken, err := s.shake(q)
		if err == nil && shaken == nil {
			err = s.verify(q, time.Now())
		}
		if err != nil {
			err = s.refuse(err, q)
			status := http.StatusUnauthorized
			if refusal, ok := errors.AsType[*Refusal](err); ok {
				status = refusal.Status
				if refusal.Answer != nil {
					refusal.Answer.Send(w)
					return
				}
			}
			http.Error(w, http.StatusText(status), status)
			return
		}
		if shaken != nil {
			shaken.Answer.Send(w)
			return
		}
		// What is verified, which is not what came where the provider was asked for it.
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(q.body)), int64(len(q.body))
		next.ServeHTTP(w, r)
	})
}
