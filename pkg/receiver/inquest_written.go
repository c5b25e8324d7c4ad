package receiver

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"
)

// written looks at how the signature is written: without its prefix, in another
// encoding, with another hash, cut short.
func (i *inquest) written() (Diagnosis, bool) {
	for _, sig := range i.plain {
		for _, key := range i.keys(sig) {
			for item := range sig.items(i.q) {
				if d, ok := i.reads(sig, key, item); ok {
					return d, true
				}
			}
			bare := *sig
			bare.prefix = ""
			for item := range bare.items(i.q) {
				if strings.HasPrefix(item, sig.prefix) {
					continue
				}
				if d, ok := i.reads(sig, key, afterPrefix(item)); ok {
					if d.Cause != CauseOtherAlgorithm {
						d = Diagnosis{
							CauseSignaturePrefix, fmt.Sprintf("the signature is right, but %s does not begin with %s", sig.place, sig.prefix),
							"Let the sender write the prefix; of a receiver of your own, correct signatures.prefix; of generic, params.prefix.",
						}
					}
					return d, true
				}
			}
		}
	}
	return Diagnosis{}, false
}

// afterPrefix is a signature without what looks like a prefix: sha1= or v1,.
func afterPrefix(item string) string {
	const longest = 12
	if at := strings.IndexAny(item[:min(len(item), longest)], "=, "); at >= 0 && at+1 < len(item) && item[at+1] != '=' {
		return strings.TrimSpace(item[at+1:])
	}
	return item
}

// reads tries to read the text of a signature in every way.
func (i *inquest) reads(sig *signature, key []byte, item string) (Diagnosis, bool) {
	if item == "" || len(item) > maxSignatureHeader {
		return Diagnosis{}, false
	}
	for _, name := range []string{"hex", "base64", "base64url", "text"} {
		decoded, err := encodings[name].decode(item)
		if err != nil || len(decoded) == 0 {
			continue
		}
		one := [][]byte{decoded}
		if sig.algorithm.fits(len(decoded)) && i.holds(sig, key, one, i.q) {
			return Diagnosis{
				CauseSignatureEncoding, fmt.Sprintf("the signature is right, but in %s is written in %s", sig.place, name),
				"Let the sender write it in the other encoding; of a receiver of your own, correct signatures.encoding; of generic, params.encoding.",
			}, true
		}
		own, isHMAC := sig.algorithm.(hmacOf)
		if !isHMAC {
			continue
		}
		for _, word := range []string{"hmac-sha1", "hmac-sha256", "hmac-sha512", "hmac-sha384", "hmac-md5"} {
			other := *sig
			other.algorithm = algorithms[word]
			if other.algorithm.fits(len(decoded)) && !own.fits(len(decoded)) && i.holds(&other, key, one, i.q) {
				return Diagnosis{
					CauseOtherAlgorithm, fmt.Sprintf("%s holds the right signature, made with %s", sig.place, word),
					"Let the sender use the hash that is verified here; of a receiver of your own, correct signatures.algorithm; of generic, params.hash.",
				}, true
			}
		}
		if i.truncated(sig, own, key, decoded) {
			return Diagnosis{
				CauseSignatureTruncated, fmt.Sprintf("%s holds the right signature, cut short: %d bytes of %d", sig.place, len(decoded), own.size),
				"Look for what cuts it: a column of a table, a proxy's limit of headers, an incomplete copy.",
			}, true
		}
	}
	return Diagnosis{}, false
}

// truncated reports whether the signature is right as far as it goes.
func (i *inquest) truncated(sig *signature, a hmacOf, key, begin []byte) bool {
	const enough = 8 // bytes that nobody guesses
	if len(begin) < enough || len(begin) >= a.size || !i.spend(len(i.Body)) {
		return false
	}
	if _, missing := sig.content.missing(i.q); missing {
		return false
	}
	return subtle.ConstantTimeCompare(a.sum(key, sig.content, i.q)[:len(begin)], begin) == 1
}

// malformed tells that what stands there cannot be a signature.
func (i *inquest) malformed() (Diagnosis, bool) {
	for _, sig := range i.plain {
		if len(sig.candidates(nil, i.q)) > 0 {
			return Diagnosis{}, false
		}
	}
	if len(i.plain) == 0 {
		return Diagnosis{}, false
	}
	sig := i.plain[0]
	detail := fmt.Sprintf("%s holds no signature", sig.place)
	if sig.prefix != "" {
		detail = fmt.Sprintf("%s holds no signature after %s", sig.place, sig.prefix)
	}
	item := sig.first(i.q)
	if item == "" {
		item = afterPrefix(i.q.value(sig.at))
	}
	if decoded, err := hex.DecodeString(item); err == nil && len(decoded) > 0 {
		detail += fmt.Sprintf("; it is %d bytes in hex", len(decoded))
		if word := hashOf(len(decoded)); word != "" {
			detail += ", the length of " + word
		}
	}
	return Diagnosis{CauseSignatureMalformed, detail, "Compare it with the provider's documentation; look for a copy that is incomplete, and whether the provider signs in an older way."}, true
}

func hashOf(size int) string {
	return map[int]string{16: "MD5", 20: "SHA-1", 32: "SHA-256", 48: "SHA-384", 64: "SHA-512"}[size]
}
