package webhook

import (
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

// A VerifyingKey is what webhooks are verified with: a [Secret] or a [PublicKey].
type VerifyingKey interface {
	// IsZero reports whether it is no key.
	IsZero() bool
	// verify tells whether one of the signatures, with their marks, is by the key.
	verify(signatures []string, id, timestamp string, body []byte) bool
}

// Verify accepts a webhook that one of the keys has signed and whose
// timestamp is within the tolerance of now. The body must be the bytes as they
// were received. Signatures of unknown versions are passed over. It compares in
// constant time and fails with one of the Err… constants.
func Verify(header http.Header, body []byte, now time.Time, tolerance time.Duration, keys ...VerifyingKey) error {
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
	return match(given, id, timestamp, body, keys)
}

// match tries every key, and does not stop at the first success: the time says
// nothing about which one matched.
func match(given []string, id, timestamp string, body []byte, keys []VerifyingKey) error {
	found, usable := false, false
	for _, k := range keys {
		if k.IsZero() {
			continue
		}
		usable = true
		if k.verify(given, id, timestamp, body) {
			found = true
		}
	}
	switch {
	case !usable:
		return ErrNoSecret
	case !found:
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

// signatures returns the v1 and v1a signatures of the header, with their marks. Some
// senders separate them by ", ", which leaves a comma at an item's end.
func signatures(header http.Header) []string {
	var found []string
	for _, line := range header.Values(HeaderSignature) {
		for item := range strings.FieldsSeq(line) {
			item = strings.TrimSuffix(item, ",")
			version, signature, _ := strings.Cut(item, ",")
			if (version == v1 || version == v1a) && signature != "" {
				found = append(found, item)
			}
		}
	}
	return found
}
