package receiver

import (
	"crypto/subtle"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
)

// check judges what a genuine token says. The refusals do not quote it.
func (t *tokenRule) check(known jwt.Claims, all map[string]any, q *request, now time.Time) error {
	if err := t.checkTime(known, now); err != nil {
		return err
	}
	if len(t.issuers) > 0 && !slices.Contains(t.issuers, known.Issuer) {
		return refuse(ClaimWrong, "the token is not of an issuer of this source")
	}
	if len(t.audience) > 0 {
		fits := slices.ContainsFunc(t.audience, func(a template) bool {
			want := a.text(q)
			return want != "" && known.Audience.Contains(want)
		})
		if !fits {
			return refuse(ClaimWrong, "the token is for another audience")
		}
	}
	for _, c := range t.claims {
		got := claim(all, c.path)
		if got == "" || !c.any && subtle.ConstantTimeCompare([]byte(got), []byte(c.want.text(q))) != 1 {
			return refuse(ClaimWrong, "the claim %s is not what it must be", strings.Join(c.path, "."))
		}
	}
	for _, h := range t.hashes {
		if !h.holds(all, q) {
			return refuse(ClaimWrong, "the claim %s is not the hash of this request", h.claim)
		}
	}
	return nil
}

// checkTime judges when the token is good.
func (t *tokenRule) checkTime(known jwt.Claims, now time.Time) error {
	switch err := known.ValidateWithLeeway(jwt.Expected{Time: now}, t.tolerance); {
	case errors.Is(err, jwt.ErrExpired):
		return refuse(TimestampStale, "the token ended %s ago", now.Sub(known.Expiry.Time()).Round(time.Second))
	case err != nil:
		return refuse(TimestampFuture, "the token is not good yet")
	}
	if t.maxAge > 0 {
		if known.IssuedAt == nil {
			return refuse(TimestampMissing, "the token has no iat")
		}
		if age := now.Sub(known.IssuedAt.Time()); age > t.maxAge {
			return refuse(TimestampStale, "the token is %s old; %s is the most", age.Round(time.Second), t.maxAge)
		}
	} else if known.Expiry == nil && !t.endless {
		return refuse(TimestampMissing, "the token has no exp")
	}
	return nil
}

// claim is the text of a claim; empty where it is none, or no scalar.
func claim(all map[string]any, path []string) string {
	var at any = all
	for _, key := range path {
		object, ok := at.(map[string]any)
		if !ok {
			return ""
		}
		at = object[key]
	}
	switch v := at.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// holds reports whether the claim is the hash of the content. Where there is
// nothing to hash there need not be a claim.
func (h hashRule) holds(all map[string]any, q *request) bool {
	stated, there := all[h.claim]
	if !there {
		return len(h.content.text(q)) == 0
	}
	text, _ := stated.(string)
	want, err := h.encoding.decode(text)
	return err == nil && subtle.ConstantTimeCompare(want, h.sum(q)) == 1
}

func (h hashRule) sum(q *request) []byte {
	sum := h.hash.New()
	h.content.feed(sum, q)
	return sum.Sum(nil)
}
