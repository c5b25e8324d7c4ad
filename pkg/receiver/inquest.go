package receiver

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// An inquest is a diagnosis at work.
type inquest struct {
	*Source
	Case
	q     *request
	plain []*signature // those that are verified with nothing but the request and the secrets
	left  int          // bytes that may still be hashed
}

func (s *Source) inquest(c Case) *inquest {
	i := &inquest{Source: s, Case: c, left: c.Work}
	if c.Work == 0 {
		i.left = maxWork
	}
	for _, sig := range s.signatures {
		if sig.keys == nil && sig.token == nil && sig.callback == nil && fetchesNothing(sig.algorithm) {
			i.plain = append(i.plain, sig)
		}
	}
	i.q = i.with(c.Body)
	return i
}

// with is the request with another body.
func (i *inquest) with(body []byte) *request {
	q := i.request(i.Request, body)
	if i.signsJSON {
		i.findDocument(q)
	}
	if i.clock != nil {
		if text, _, err := i.clock.read(q); err == nil {
			q.timestamp = text
		}
	}
	if i.items == nil {
		return q
	}
	for _, item := range q.document.items(*i.items) {
		one := &request{Request: q.Request, body: q.body, documents: i.document, source: i.Source, document: item}
		if !i.holdsFor(one) {
			return one
		}
	}
	return q
}

// spend reports whether there is work left for a body of this size.
func (i *inquest) spend(size int) bool {
	const each = 1 << 10 // what a hash of nothing costs, in bytes of a long one
	if i.left < size+each {
		i.left = 0
		return false
	}
	i.left -= size + each
	return true
}

// holds reports whether one of the signatures is that of the request.
func (i *inquest) holds(sig *signature, key []byte, candidates [][]byte, q *request) bool {
	if len(candidates) == 0 || len(key) == 0 || !i.spend(len(q.body)) {
		return false
	}
	_, missing := sig.content.missing(q)
	return !missing && holdAll(sig.when, q) && sig.algorithm.match(key, candidates, sig.content, q)
}

// fetchesNothing reports whether an algorithm needs nothing but the request.
func fetchesNothing(a algorithm) bool {
	switch a.(type) {
	case hmacOf, token, edwards, ecdsaP256, rsaPKCS1:
		return true
	}
	return false
}

// keys are the keys of the source for a signature.
func (i *inquest) keys(sig *signature) [][]byte {
	var all [][]byte
	for _, secret := range i.secrets {
		if key, err := sig.secretKey(secret); err == nil && sig.algorithm.check(key) == nil {
			all = append(all, key)
		}
	}
	return all
}

// holdsFor tries all signatures and secrets with another form of the request.
func (i *inquest) holdsFor(q *request) bool {
	for _, sig := range i.plain {
		candidates := sig.candidates(nil, q)
		for _, key := range i.keys(sig) {
			if i.holds(sig, key, candidates, q) {
				return true
			}
		}
	}
	return false
}

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

// otherKeyName tells that the request names a key that the source does not have.
func (i *inquest) otherKeyName() (Diagnosis, bool) {
	for _, sig := range i.plain {
		named := sig.keyID.text(i.q)
		if named == "" || i.hasKey(sig, named) {
			continue
		}
		return Diagnosis{
			CauseOtherSecret, "the request names a key, and no secret of the source has that name",
			"Add the key that the provider signs with now to the secrets of the source, as name:secret.",
		}, true
	}
	return Diagnosis{}, false
}

// hasKey reports whether a secret has the name, or no name and so any.
func (i *inquest) hasKey(sig *signature, name string) bool {
	return slices.ContainsFunc(i.secrets, func(s Secret) bool {
		text, err := s.Value()
		own := sig.keyName(text)
		return err == nil && (own == "" || own == name)
	})
}

// otherSource looks for a source whose secret it is.
func (i *inquest) otherSource() (Diagnosis, bool) {
	const most = 100
	for n, other := range i.Others {
		if other.name == i.name || n > most {
			continue
		}
		j := other.inquest(i.Case)
		if j.left = i.left; !j.spend(0) {
			break
		}
		found := j.holdsFor(j.q)
		if i.left = j.left; found {
			return Diagnosis{
				CauseOtherSource, "the signature is that of the source " + other.name,
				"Enter the URL of that source at the provider, or move its secret here.",
			}, true
		}
	}
	return Diagnosis{}, false
}

// elsewhere looks for the signature in other headers.
func (i *inquest) elsewhere() (Diagnosis, bool) {
	for _, name := range i.lookalikes("sign", "hmac", "digest", "hash", "token", "auth") {
		for _, sig := range i.plain {
			moved := *sig
			moved.at, moved.prefix, moved.separator = part{kind: header, arg: name}, "", ""
			value := i.q.value(moved.at)
			for _, key := range i.keys(sig) {
				if d, ok := i.reads(&moved, key, afterPrefix(value)); ok {
					if d.Cause == CauseSignatureEncoding {
						d.Detail = fmt.Sprintf("the signature is right, but stands in the header %s, and not in %s", name, sig.place)
					}
					d.Cause = CauseOtherHeader
					d.Advice = "Let the sender use the header that is verified here. A provider's older header beside it is not enough: look whether the newer one is dropped on the way."
					return d, true
				}
			}
		}
	}
	return Diagnosis{}, false
}

// lookalikes are headers of the request with one of the words in their names.
func (i *inquest) lookalikes(words ...string) []string {
	const most, longest = 4, 64
	var names []string
	for name := range i.Request.Header {
		lower := strings.ToLower(name)
		has := slices.ContainsFunc(words, func(word string) bool { return strings.Contains(lower, word) })
		if has && len(name) <= longest && isToken(name) && !slices.Contains(i.single, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names[:min(len(names), most)]
}

// signers maps the headers that only one provider signs in to its receiver.
var signers = sync.OnceValue(func() map[string]*Receiver {
	all := make(map[string]*Receiver)
	for _, name := range Names() {
		r, _ := Lookup(name)
		for _, f := range r.Signatures {
			h := http.CanonicalHeaderKey(r.expand(f.Header))
			if other, taken := all[h]; h == "" || taken && other != r {
				r := (*Receiver)(nil) // several: it tells nothing
				all[h] = r
				continue
			}
			all[h] = r
		}
	}
	delete(all, "Authorization")
	return all
})

// otherReceiver looks for the header that another provider signs in.
func (i *inquest) otherReceiver() (Diagnosis, bool) {
	own := i.collect(header, func(p part) string { return p.arg })
	for name := range i.Request.Header {
		r := signers()[name]
		if r == nil || r.Slug == i.receiver.Slug || slices.Contains(own, name) {
			continue
		}
		return Diagnosis{
			CauseOtherReceiver, fmt.Sprintf("the header %s is there, which %s signs in, and not %s", name, r.Name, i.receiver.Name),
			fmt.Sprintf("Send it to a source of the receiver %s (belay receivers %s), or correct the receiver of this one.", r.Slug, r.Slug),
		}, true
	}
	return Diagnosis{}, false
}

// bodyHashed looks whether the URL holds the hash of another body.
func (i *inquest) bodyHashed() (Diagnosis, bool) {
	for _, sig := range i.plain {
		if sig.bodyHash == "" || i.q.value(part{kind: queryParam, arg: sig.bodyHash}) == "" || sig.hashesBody(i.q) {
			continue
		}
		for what, body := range i.bodies() {
			if !i.spend(len(body)) {
				break
			}
			if !bytes.Equal(body, i.Body) && sig.hashesBody(i.with(body)) {
				return bodyDiagnosis(what), true
			}
		}
		return Diagnosis{
			CauseBody, "the body is not the one whose hash stands in the URL",
			"Look for what changes the body on its way: a proxy, a firewall, a framework that parses it and writes it again.",
		}, true
	}
	return Diagnosis{}, false
}

// otherBody looks for the body that was signed.
func (i *inquest) otherBody() (Diagnosis, bool) {
	if !slices.ContainsFunc(i.plain, (*signature).signsBody) {
		return Diagnosis{}, false
	}
	for what, body := range i.bodies() {
		if i.left == 0 {
			break
		}
		if !bytes.Equal(body, i.Body) && i.holdsFor(i.with(body)) {
			return bodyDiagnosis(what), true
		}
	}
	return Diagnosis{}, false
}

// bodies yields what the body may have been. It is parsed where the work that is
// left would do for some of what comes of that.
func (i *inquest) bodies() iter.Seq2[string, []byte] {
	const some = 16
	if len(i.Body) > i.left/some {
		return textVariants(i.Body)
	}
	return bodyVariants(i.Body, i.Request.Header.Get("Content-Type"))
}

func bodyDiagnosis(what string) Diagnosis {
	return Diagnosis{
		CauseBody, "the signature is that of " + what,
		"Look for what changes the body on its way: a proxy, a firewall, a framework that parses it and writes it again, an editor that saved the capture. The bytes must come as they were sent.",
	}
}

// signsBody reports whether a part of the body is signed.
func (s *signature) signsBody() bool {
	c := choice{s.content}
	return slices.ContainsFunc([]kind{body, formSorted, documentText, formField, jsonValue}, c.uses)
}
