package receiver

import (
	"iter"
	"net/url"
	"slices"
	"strings"
)

// secretText looks for another form of the secret: with or without white space,
// quotes and prefix, decoded in another way.
func (i *inquest) secretText() (Diagnosis, bool) {
	for _, secret := range i.secrets {
		text, err := secret.Value()
		if err != nil {
			continue
		}
		for _, sig := range i.plain {
			candidates := sig.candidates(nil, i.q)
			if len(candidates) == 0 {
				continue
			}
			own, err := sig.decodeKey(text)
			if err != nil {
				own = nil
			}
			for what, key := range i.otherKeys(sig, text) {
				if string(key) == string(own) || sig.algorithm.check(key) != nil || !i.holds(sig, key, candidates, i.q) {
					continue
				}
				if what.space {
					return Diagnosis{
						CauseSecretSpace, "the signature is right with the secret " + what.how,
						"Store the secret exactly as the provider shows it: printf %s instead of echo, no quotes in an env file, no newline at the end.",
					}, true
				}
				return Diagnosis{
					CauseSecretForm, "the signature is right with the secret " + what.how,
					"Store the secret as the provider shows it, prefix included, or let the sender use it in the way of " + i.receiver.Name + "; of a receiver of your own, correct signatures.secret; of generic, params.secret.",
				}, true
			}
		}
	}
	return Diagnosis{}, false
}

// A keyOrigin is what was done to a secret for a key.
type keyOrigin struct {
	how   string
	space bool // what was done is about white space and quotes
}

// otherKeys yields the keys that a secret's text could mean.
func (i *inquest) otherKeys(sig *signature, text string) iter.Seq2[keyOrigin, []byte] {
	return func(yield func(keyOrigin, []byte) bool) {
		for how, variant := range secretSpaces(text) {
			if key, err := sig.decodeKey(variant); err == nil && !yield(keyOrigin{how, true}, key) {
				return
			}
		}
		for how, variant := range secretPrefixes(text) {
			for _, form := range []string{"raw", "hex", "base64", "base64url"} {
				key, err := decodeAs(form, variant)
				if err != nil || len(key) == 0 {
					continue
				}
				done := map[string]string{"raw": "taken as text", "hex": "decoded from hex", "base64": "decoded from base64", "base64url": "decoded from base64url"}[form]
				if how != "" {
					done = how + ", " + done
				}
				if !yield(keyOrigin{done, false}, key) {
					return
				}
			}
		}
	}
}

func decodeAs(form, text string) ([]byte, error) {
	if form == "raw" {
		return []byte(text), nil
	}
	return encodings[form].decode(text)
}

// secretSpaces are about what people add when they copy and store.
func secretSpaces(text string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		_ = yield("without the white space around it", strings.TrimSpace(text)) &&
			yield("without the quotes around it", strings.Trim(strings.TrimSpace(text), `"'`)) &&
			yield("with a newline at its end", text+"\n") &&
			yield("with a CRLF at its end", text+"\r\n") &&
			yield("with a blank at its end", text+" ") &&
			yield(`with newlines for \n`, strings.ReplaceAll(text, `\n`, "\n")) &&
			yield("without its white space", strings.Join(strings.Fields(text), "")) &&
			yield("with its escapes (%2B) decoded", unescaped(text)) &&
			yield("with its special characters escaped (%2B)", url.QueryEscape(text)) &&
			yield("in small letters", strings.ToLower(text)) &&
			yield("in capitals", strings.ToUpper(text))
	}
}

// knownPrefixes begin the secrets of providers.
var knownPrefixes = []string{"whsec_", "v1,whsec_", "whsk_", "sk_", "sha256="}

// secretPrefixes are about what stands before the secret proper.
func secretPrefixes(text string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if !yield("", text) {
			return
		}
		// The longest first: v1,whsec_ before whsec_.
		for _, prefix := range slices.Backward(knownPrefixes) {
			if bare, ok := strings.CutPrefix(text, prefix); ok && !yield("without "+prefix, bare) {
				return
			}
		}
		for _, prefix := range knownPrefixes[:2] {
			if !strings.HasPrefix(text, prefix) && !yield("after "+prefix, prefix+text) {
				return
			}
		}
	}
}
