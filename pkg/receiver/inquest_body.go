package receiver

import (
	"bytes"
	"iter"
	"slices"
)

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
