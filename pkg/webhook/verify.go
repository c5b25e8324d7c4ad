package webhook

import (
	"crypto/subtle"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Tolerance is how far the timestamp of a webhook may be from now, either way,
// when nothing else is agreed: the 5 minutes of the official libraries.
const Tolerance = 5 * time.Minute

// maxDigits bounds a timestamp: 11 digits last beyond the year 5000.
const maxDigits = 11

// Verify accepts a webhook that one of the secrets has signed and whose
// timestamp is within the tolerance of now. The body must be the bytes as they
// were received. Signatures of unknown versions are passed over. It compares in
// constant time and fails with one of the Err… constants.
func Verify(header http.Header, body []byte, now time.Time, tolerance time.Duration, secrets ...Secret) error {
	id, err := single(header, HeaderID, ErrIDMissing, ErrIDMalformed)
	if err != nil {
		return err
	}
	if err := checkID(id); err != nil {
		return err
	}
	timestamp, err := single(header, HeaderTimestamp, ErrTimestampMissing, ErrTimestampMalformed)
	if err != nil {
		return err
	}
	if err := checkTimestamp(timestamp, now, tolerance); err != nil {
		return err
	}
	given := signatures(header)
	if len(given) == 0 {
		return ErrSignatureMissing
	}
	return match(given, id, timestamp, body, secrets)
}

// match compares every signature with that of every secret, and does not stop
// at the first success: the time says nothing about which one matched.
func match(given []string, id, timestamp string, body []byte, secrets []Secret) error {
	found, usable := 0, false
	for _, s := range secrets {
		if s.IsZero() {
			continue
		}
		usable = true
		want := []byte(s.sign(id, timestamp, body))
		for _, signature := range given {
			found |= subtle.ConstantTimeCompare([]byte(signature), want)
		}
	}
	switch {
	case !usable:
		return ErrNoSecret
	case found == 0:
		return ErrSignatureWrong
	}
	return nil
}

// single returns the header's only value. Two would leave open which was signed.
func single(header http.Header, name string, missing, malformed Error) (string, error) {
	values := header.Values(name)
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", missing
	case len(values) > 1:
		return "", malformed
	}
	return values[0], nil
}

// checkTimestamp wants the digits that [Sign] writes: the signature is over the
// text, and another spelling of the same number would be another text.
func checkTimestamp(text string, now time.Time, tolerance time.Duration) error {
	if len(text) > maxDigits || text[0] == '0' && text != "0" {
		return ErrTimestampMalformed
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return ErrTimestampMalformed
		}
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return ErrTimestampMalformed
	}
	switch age := now.Sub(time.Unix(seconds, 0)); {
	case age > tolerance:
		return ErrTimestampStale
	case age < -tolerance:
		return ErrTimestampFuture
	}
	return nil
}

// signatures returns the v1 signatures of the header without their mark. Some
// senders separate them by ", ", which leaves a comma at an item's end.
func signatures(header http.Header) []string {
	var found []string
	for _, line := range header.Values(HeaderSignature) {
		for item := range strings.FieldsSeq(line) {
			version, signature, _ := strings.Cut(strings.TrimSuffix(item, ","), ",")
			if version == v1 && signature != "" {
				found = append(found, signature)
			}
		}
	}
	return found
}
