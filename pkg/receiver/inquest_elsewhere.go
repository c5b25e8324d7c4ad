package receiver

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

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
