package receiver

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// Cause is what most likely made a request fail: a closed set, fit to be a
// metric's label. Where a [Reason] says which check failed, a cause says what to
// mend.
type Cause string

// The causes.
const (
	// CauseUnsigned: there is nothing like a signature.
	CauseUnsigned Cause = "unsigned"
	// CauseOtherHeader: the signature stands in another header, or one that looks
	// like it does, such as that of an older version.
	CauseOtherHeader Cause = "other_header"
	// CauseOtherReceiver: another provider sent it.
	CauseOtherReceiver Cause = "other_receiver"
	// CauseOtherSource: it is signed with the secret of another source.
	CauseOtherSource Cause = "other_source"
	// CauseOtherSecret: nothing else fits: most likely another secret.
	CauseOtherSecret Cause = "other_secret"
	// CauseSecretSpace: white space, quotes or a newline belong to the secret, or do not.
	CauseSecretSpace Cause = "secret_space"
	// CauseSecretForm: the secret's text becomes a key in another way: a prefix that
	// is stripped or not, hex or base64 that is decoded or not.
	CauseSecretForm Cause = "secret_form"
	// CauseSecretUnavailable: the secret could not be read.
	CauseSecretUnavailable Cause = "secret_unavailable"
	// CauseSignaturePrefix: the signature is right, but what must stand before it is not there.
	CauseSignaturePrefix Cause = "signature_prefix"
	// CauseSignatureEncoding: the signature is right, but in hex instead of base64, or the like.
	CauseSignatureEncoding Cause = "signature_encoding"
	// CauseSignatureTruncated: the signature is right as far as it goes.
	CauseSignatureTruncated Cause = "signature_truncated"
	// CauseSignatureMalformed: what stands there cannot be a signature.
	CauseSignatureMalformed Cause = "signature_malformed"
	// CauseOtherAlgorithm: the signature is made with another hash.
	CauseOtherAlgorithm Cause = "other_algorithm"
	// CauseBody: the body is not the one that was signed.
	CauseBody Cause = "body_changed"
	// CauseURL: another URL was signed.
	CauseURL Cause = "other_url"
	// CausePartMissing: a part of what is signed is not there.
	CausePartMissing Cause = "part_missing"
	// CauseRepeated: a header stands there more than once.
	CauseRepeated Cause = "header_repeated"
	// CauseClock: the signature is right, the time of signing is not.
	CauseClock Cause = "clock"
	// CauseTimestampUnit: the time is written in another unit.
	CauseTimestampUnit Cause = "timestamp_unit"
	// CauseOtherKey: it is not signed with a key of the provider, or not as it came.
	CauseOtherKey Cause = "other_key"
	// CauseClaim: the token is genuine, and for another source or another request.
	CauseClaim Cause = "claim"
	// CauseProvider: the provider's keys, or its word, could not be had.
	CauseProvider Cause = "provider"
	// CauseHandshake: a handshake with another token.
	CauseHandshake Cause = "handshake"
	// CauseToken: a token is not what it must be, or the provider does not know the request.
	CauseToken Cause = "token"
	// CauseContent: the request is genuine, and its body is not what it must be.
	CauseContent Cause = "content"
)

// Diagnosis says why a request was refused, for the log. It holds no secret and
// no computed signature.
type Diagnosis struct {
	// Cause is what most likely made it fail.
	Cause Cause `json:"cause"`
	// Detail says what was found.
	Detail string `json:"detail"`
	// Advice says what to do.
	Advice string `json:"advice"`
}

// maxWork bounds in bytes what a diagnosis hashes unless it is told: enough for
// a hundred variants of half a megabyte.
const maxWork = 64 << 20

// Case is a refused request that is looked into.
type Case struct {
	// Request and Body are as [Source.Receive] had them.
	Request *http.Request
	// Body is the request's body.
	Body []byte
	// Now is when it came.
	Now time.Time
	// Refusal is why it was refused.
	Refusal *Refusal
	// Others are sources whose secret it might be signed with.
	Others []*Source
	// Work bounds the diagnosis: how many bytes are hashed at most. Zero: 64 MiB,
	// half a second. What is not found in it is told as if it were not so.
	Work int
}

// Diagnose finds out why the source refused a request, by looking for what would
// make the signature right: another body, URL, secret, encoding, source. It
// costs up to a hundred times as much as the refusal, so it is for a person who
// asks, and for a few requests a second in a server. It fetches nothing.
func (s *Source) Diagnose(c Case) Diagnosis {
	if d, ok := s.told(c); ok {
		return d
	}
	i := s.inquest(c)
	switch c.Refusal.Reason {
	case SignatureMissing:
		return i.missing()
	case SignatureWrong, SignedMissing:
		return i.wrong()
	case TimestampMissing, TimestampUnreadable:
		return i.timestamp()
	case TimestampStale, TimestampFuture:
		return i.clockOff()
	case HeaderRepeated:
		return Diagnosis{CauseRepeated, c.Refusal.Detail, "Look for a proxy that adds the header again. Two values could mean two things to two programs, so none is taken."}
	case HandshakeWrong:
		return Diagnosis{CauseHandshake, c.Refusal.Detail, "Compare the verification token and the parameters of the source with what is entered at the provider."}
	case SecretUnavailable:
		return Diagnosis{CauseSecretUnavailable, c.Refusal.Detail, "Make the secret readable for Belay; belay check tells which one is not."}
	}
	return Diagnosis{CauseContent, c.Refusal.Detail, "The sender is genuine: compare the body and its content type with the provider's documentation."}
}

// missing looks for the signature that is not where it must be.
func (i *inquest) missing() Diagnosis {
	if d, ok := i.first(i.elsewhere, i.otherReceiver); ok {
		return d
	}
	where := i.signatures[0].String()
	if names := i.lookalikes("sign", "hmac", "digest"); len(names) > 0 {
		return Diagnosis{
			CauseOtherHeader, fmt.Sprintf("%s is not there; %s is", where, strings.Join(names, ", ")),
			"Set the secret at the provider again, so that it signs in the way that is verified here, and look whether a proxy drops or renames headers.",
		}
	}
	return Diagnosis{
		CauseUnsigned, where + " is not there, nor anything like it",
		"Set the secret at the provider: many sign only then. If it is set, look for a proxy that drops the header. Or it is somebody else who calls this URL.",
	}
}

// wrong looks for what would make the signature right. What costs least, and
// goes wrong most, comes first.
func (i *inquest) wrong() Diagnosis {
	if d, ok := i.first(i.otherKeyName, i.written, i.secretText, i.otherSource, i.bodyHashed, i.otherBody, i.otherURL, i.elsewhere, i.otherReceiver); ok {
		return d
	}
	if i.Refusal.Reason == SignedMissing {
		return Diagnosis{CausePartMissing, i.Refusal.Detail, "Look whether a proxy drops it, and whether this is a request of " + i.receiver.Name + " at all."}
	}
	if len(i.plain) == 0 {
		return i.token()
	}
	if d, ok := i.malformed(); ok {
		return d
	}
	advice := "Copy the secret from the provider again: that of this very endpoint, and of the same mode (test or live)."
	detail := "the signature is well-formed, and that of no body, URL or form of the secret that was tried"
	if hint := i.hint(); hint != "" {
		detail += "; " + hint
	}
	return Diagnosis{CauseOtherSecret, detail, advice}
}

// token tells what a scheme has told that compares more than a signature.
func (i *inquest) token() Diagnosis {
	return Diagnosis{CauseToken, i.Refusal.Detail, "Compare the parameters of the source (belay receivers " + i.receiver.Slug + ") with what the provider shows, and see whether this is its request at all."}
}

// first is the first finding.
func (i *inquest) first(look ...func() (Diagnosis, bool)) (Diagnosis, bool) {
	for _, at := range look {
		if d, ok := at(); ok {
			return d, true
		}
	}
	return Diagnosis{}, false
}

// hint is what in the body speaks of where the secret belongs to.
func (i *inquest) hint() string {
	begin := i.Body[:min(len(i.Body), 64<<10)]
	for _, name := range []string{"livemode", "live", "test", "test_mode", "testMode", "environment", "env"} {
		switch v := gjson.GetBytes(begin, name).String(); v {
		case "true", "false", "test", "live", "sandbox", "production":
			return fmt.Sprintf("the body says %s: %s", name, v)
		}
	}
	if bytes.Contains(begin, []byte("\uFFFD")) {
		return "the body holds U+FFFD, the sign for a character that was lost: something has read it in the wrong charset"
	}
	return ""
}

// timestamp looks for a time that is missing, or written in another way.
func (i *inquest) timestamp() Diagnosis {
	d := Diagnosis{CausePartMissing, i.Refusal.Detail, "Look whether a proxy drops it, and whether this is a request of " + i.receiver.Name + " at all."}
	if other, ok := i.otherReceiver(); ok {
		return other
	}
	if i.clock == nil {
		return i.token()
	}
	text := i.clock.first(i.q)
	for _, name := range unitNames {
		if t, err := units[name].parse(text); err == nil && near(t, i.Now) {
			return i.otherUnit(name)
		}
	}
	if names := i.lookalikes("timestamp", "time", "date"); text == "" && len(names) > 0 {
		d.Detail += "; there is " + strings.Join(names, ", ")
	}
	return d
}

var unitNames = []string{"s", "ms", "rfc3339"}

// near is within a year: a time in another unit is not.
func near(t, now time.Time) bool { return now.Sub(t).Abs() < 365*24*time.Hour }

func (i *inquest) otherUnit(name string) Diagnosis {
	return Diagnosis{
		CauseTimestampUnit, fmt.Sprintf("the timestamp in %s makes sense as %s only", i.clock.place, map[string]string{"s": "seconds", "ms": "milliseconds", "rfc3339": "an RFC 3339 time"}[name]),
		"Correct the unit: of a receiver of your own, timestamp.unit is " + name + "; of generic, params.unit.",
	}
}

// clockOff tells a wrong unit, a wrong clock and a request that came late apart.
func (i *inquest) clockOff() Diagnosis {
	if i.clock == nil {
		return Diagnosis{CauseClock, i.Refusal.Detail, "Compare this machine's clock (chronyc tracking) with the sender's; a captured request is verified with --at and the time of its capture."}
	}
	text, sent, err := i.clock.read(i.q)
	if err == nil && !near(sent, i.Now) {
		for _, name := range unitNames {
			if t, err := units[name].parse(text); err == nil && near(t, i.Now) {
				return i.otherUnit(name)
			}
		}
	}
	d := Diagnosis{
		CauseClock, "the signature is right; " + i.Refusal.Detail,
		"Compare this machine's clock (chronyc tracking) with the sender's. A retry under the time of its first attempt needs a longer tolerance; a captured request is verified with --at and the time of its capture.",
	}
	if i.Refusal.Reason == TimestampFuture {
		d.Advice = "Compare this machine's clock (chronyc tracking) with the sender's: it is behind, or that one is ahead."
	}
	return d
}
