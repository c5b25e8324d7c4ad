// Package webhook signs and verifies outgoing webhooks as the Standard Webhooks
// specification says
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
// Belay's outbox signs with it; a subscriber's Go server verifies with it. It
// needs nothing but the standard library.
//
//	webhook-id:        msg_p5jXN8AQM9LWM0D4loKWxJek      the same for every attempt
//	webhook-timestamp: 1614265330                        of this attempt, Unix seconds
//	webhook-signature: v1,g0hM9SsE+OTPJTGt/… v1a,…       one for each key in use
//
// A v1 signature is base64(HMAC-SHA256(secret, id + "." + timestamp + "." + body)),
// a v1a signature base64(Ed25519(private key, the same)).
package webhook

// The headers of a signed webhook.
const (
	// HeaderID names the message. It is the same for every attempt, so a
	// subscriber recognises a repetition by it.
	HeaderID = "webhook-id"
	// HeaderTimestamp is when the attempt was made, in seconds since 1970.
	HeaderTimestamp = "webhook-timestamp"
	// HeaderSignature is a list of signatures, separated by spaces.
	HeaderSignature = "webhook-signature"
)

// Error is one of the reasons why a webhook cannot be signed or is refused. The
// set is closed: the Err… constants of this package. Compare with [errors.Is].
type Error string

// Error is the reason in words.
func (e Error) Error() string { return "webhook: " + string(e) }

// What can be wrong with a webhook, or with what it is signed or verified with.
const (
	// ErrSecret: a text is not a secret of the form that [ParseSecret] reads.
	ErrSecret Error = "the secret is not whsec_ and the base64 of 24 to 64 bytes"
	// ErrPrivateKey: a text is not a key of the form that [ParsePrivateKey] reads.
	ErrPrivateKey Error = "the private key is not whsk_ and the base64 of an Ed25519 key of 64 bytes"
	// ErrPublicKey: a text is not a key of the form that [ParsePublicKey] reads.
	ErrPublicKey Error = "the public key is not whpk_ and the base64 of an Ed25519 key of 32 bytes"
	// ErrNoSecret: nothing was given to sign or to verify with.
	ErrNoSecret Error = "no secret was given"
	// ErrIDMissing: there is no webhook-id.
	ErrIDMissing Error = "the header webhook-id is missing"
	// ErrIDMalformed: the id is given twice, is longer than 256 bytes or holds
	// other bytes than printable ASCII without the space and the full stop. A
	// full stop could move the border between id, timestamp and body.
	ErrIDMalformed Error = "the header webhook-id is malformed"
	// ErrTimestampMissing: there is no webhook-timestamp.
	ErrTimestampMissing Error = "the header webhook-timestamp is missing"
	// ErrTimestampMalformed: the timestamp is given twice or is not written as
	// plain digits without a sign or a leading zero.
	ErrTimestampMalformed Error = "the header webhook-timestamp is malformed"
	// ErrTimestampStale: the timestamp is older than the tolerance allows.
	ErrTimestampStale Error = "the timestamp is too old"
	// ErrTimestampFuture: the timestamp is further ahead than the tolerance allows.
	ErrTimestampFuture Error = "the timestamp is too far in the future"
	// ErrSignatureMissing: there is no webhook-signature, or none of a version
	// that this package knows.
	ErrSignatureMissing Error = "the header webhook-signature holds no v1 or v1a signature"
	// ErrSignatureWrong: no signature matches any of the keys.
	ErrSignatureWrong Error = "no signature matches"
)
