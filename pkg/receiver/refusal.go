package receiver

import (
	"fmt"
	"net/http"
)

// Reason is why a request was refused: a closed set, fit to be a metric's label.
type Reason string

// The reasons.
const (
	// SignatureMissing: the header that carries the signature is not there.
	SignatureMissing Reason = "signature_missing"
	// SignatureWrong: no signature of the request is that of a secret.
	SignatureWrong Reason = "signature_wrong"
	// TimestampMissing: the signed time of sending is not there.
	TimestampMissing Reason = "timestamp_missing"
	// TimestampUnreadable: the time of sending is not written as it must be.
	TimestampUnreadable Reason = "timestamp_unreadable"
	// TimestampStale: the request was signed longer ago than the tolerance.
	TimestampStale Reason = "timestamp_stale"
	// TimestampFuture: the request claims to be signed later than the tolerance allows.
	TimestampFuture Reason = "timestamp_future"
	// SignedMissing: a part of the signed content, such as an id, is not there.
	SignedMissing Reason = "signed_missing"
	// HeaderRepeated: a header that decides something stands there more than once.
	HeaderRepeated Reason = "header_repeated"
	// HandshakeWrong: the method is one of handshakes only, and this is none of
	// them: another verification token, or no challenge.
	HandshakeWrong Reason = "handshake_wrong"
	// ClaimWrong: a token is genuine, but not for this source, or this request.
	ClaimWrong Reason = "claim_wrong"
	// SecretUnavailable: a secret could not be read, and no other fits; or the
	// provider that was asked with it refuses it.
	SecretUnavailable Reason = "secret_unavailable"
	// KeysUnavailable: the sender's public keys could not be fetched now.
	KeysUnavailable Reason = "keys_unavailable"
	// ProviderUnavailable: the provider had to be asked, and did not answer.
	ProviderUnavailable Reason = "provider_unavailable"
	// Unreadable: the request is genuine, but its body is not what it must be.
	Unreadable Reason = "unreadable"
)

// Status is the HTTP status that goes with the reason.
func (r Reason) Status() int {
	switch r {
	case Unreadable:
		return http.StatusBadRequest
	case HandshakeWrong:
		return http.StatusForbidden
	case SecretUnavailable, KeysUnavailable, ProviderUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusUnauthorized
}

// Refusal is the error for a request that is not accepted. It holds no secret
// and no computed signature, but its reason and detail would help a forger:
// they are for the log, and only the status is for the caller.
type Refusal struct {
	// Reason is why.
	Reason Reason
	// Status is the HTTP status to answer with.
	Status int
	// Detail says more, for the log.
	Detail string
	// Answer is what the provider wants to hear then; nil where it does not care.
	Answer *Answer
}

// Error is the reason and the detail.
func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

func refuse(reason Reason, format string, args ...any) error {
	return &Refusal{Reason: reason, Status: reason.Status(), Detail: fmt.Sprintf(format, args...)}
}

// FieldError says which field of a source's configuration is wrong.
type FieldError struct {
	// Field is the field's path inside the source: params.hash.
	Field string
	// Value is what stands there; empty for secrets.
	Value string
	// Want is what would be right.
	Want string
}

// Error names the field, the value and what would be right.
func (e *FieldError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s: want %s", e.Field, e.Want)
	}
	return fmt.Sprintf("%s is %q: want %s", e.Field, e.Value, e.Want)
}
